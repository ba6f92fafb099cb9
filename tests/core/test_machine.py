"""Whatever is asked in whatever order: the engine keeps its promises, and a twin agrees."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobd.core.commands import (
    Cancel,
    Drain,
    Follow,
    Keep,
    Looked,
    Progress,
    Remove,
    Retry,
    StopAll,
    Submit,
)  # fmt: skip
from jobd.core.decision import Forget, Kill, Launch, Look, Settle, Stop
from jobd.core.job import FINAL, WAITING, Job, Status
from jobd.core.rules import Rules
from jobd.errors import RequestError

POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(1, 3), "queue": st.sampled_from(["a", "b"]),
        "retry_attempts": st.integers(0, 2), "retry_delay": st.sampled_from([0.0, 5.0, 70.0]),
        "timeout": st.sampled_from([None, 10.0, 60.0]), "kill_grace": st.sampled_from([0.0, 10.0]),
        "idle_timeout": st.sampled_from([None, 7.0, 20.0]),
        "no_retry_on": st.sampled_from([(), (1,)]),
        "on_interrupt": st.sampled_from(["retry", "fail"]),
    },
)  # fmt: skip
ANY = st.integers(0, 10**6)


@pytest.fixture
def machine(desk_with):
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.desk = desk_with(
                max_running=2, max_pending=8, max_interruptions=1, queue_max={"b": 1},
                completed_s=700.0, failed_s=900.0, cancelled_s=0.0, max_jobs=10,
            )  # fmt: skip
            self.live: dict[str, int] = {}  # launched and not yet settled
            self.wrote: dict[str, float] = {}  # by id, of the attempt: its last sign of life
            self.looks: list[Look] = []  # not answered yet
            self.known: dict[str, str] = {}  # ids by request_id

        # What can be asked.

        @rule(request=st.integers(0, 15), delay=st.sampled_from([0.0, 0.0, 20.0]), policy=POLICIES)
        def submit(self, request, delay, policy):
            name = f"r{request}"
            command = Submit((self.desk.submission(request_id=name, delay_s=delay, **policy),))
            answer = self.ask(command)
            if answer is not None:
                [submittal] = answer
                assert submittal.duplicate == (self.known.get(name) == submittal.id)
                self.known[name] = submittal.id

        @rule(number=ANY, force=st.booleans())
        def cancel(self, number, force):
            self.about(number, lambda job: Cancel(job.id, force))

        @rule(number=ANY, delay=st.sampled_from([0.0, 30.0]))
        def retry(self, number, delay):
            self.about(number, lambda job: Retry(job.id, delay))

        @rule(number=ANY)
        def remove(self, number):
            self.about(number, lambda job: Remove(job.id))

        @rule(number=ANY)
        def keep(self, number):
            self.about(number, lambda job: Keep((job.id,)))

        @rule(on=st.booleans())
        def drain(self, on):
            self.ask(Drain(on))

        @rule()
        def stop_all(self):
            self.ask(StopAll())

        @rule(max_running=st.integers(0, 3), narrow=st.integers(0, 2))
        def follow(self, max_running, narrow):
            self.desk.rules = Rules(
                max_running=max_running, max_pending=8, max_interruptions=1,
                queue_max={"a": narrow}, completed_s=700.0, failed_s=900.0, max_jobs=10,
            )  # fmt: skip
            self.ask(Follow(self.desk.rules))

        # What happens by itself.

        @precondition(lambda self: self.live)
        @rule(number=ANY, kind=st.sampled_from(["completed", "exit", "interrupted", "never"]))
        def attempt_ends(self, number, kind):
            job = self.desk.job(sorted(self.live)[number % len(self.live)])
            before = (job.retries_left, job.interruptions)
            decision = self.desk.never_ran(job) if kind == "never" else self.desk.end(job, kind)
            self.act(decision)
            if kind in ("interrupted", "never"):
                assert job.retries_left == before[0] or job.running is None
            if kind == "never":
                assert job.interruptions == before[1]

        @precondition(lambda self: self.live)
        @rule(number=ANY, how=st.sampled_from(["output", "progress"]))
        def lives(self, number, how):
            job = self.desk.job(sorted(self.live)[number % len(self.live)])
            if how == "progress":
                self.ask(Progress(job.id, 0.5))
            self.wrote[job.id] = self.desk.boot

        @precondition(lambda self: self.looks)
        @rule()
        def somebody_looks(self):
            look = self.looks.pop(0)
            seen_at = self.wrote.get(look.id)
            if seen_at is not None and seen_at <= look.since.boot:
                seen_at = None  # before this daemon's time
            job = self.desk.job(look.id)
            asked = job.running.stopping is None
            decision = self.desk.decide(Looked(look.id, look.attempt, self.desk.boot, seen_at))
            self.act(decision)
            if asked:
                heard_at = max(self.wrote.get(look.id, 0.0), look.since.boot)
                idle = self.desk.boot >= heard_at + job.policy.idle_timeout
                assert job.running.stopping == ("idle" if idle else None)

        @rule(seconds=st.sampled_from([0.0, 5.0, 10.0, 60.0, 800.0]))
        def time_passes(self, seconds):
            self.act(self.desk.tick(seconds))
            deadlines = self.desk.engine.next_deadline()
            assert deadlines.wall is None or deadlines.wall > self.desk.wall
            assert deadlines.boot is None or deadlines.boot > self.desk.boot

        @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
        def clock_is_set(self, seconds):
            self.desk.wall += seconds

        @rule()
        def restart(self):
            twin = self.desk.twin()
            for job in self.desk.engine.jobs:
                other = twin.jobs.get(job.id)
                assert other is not None
                for name in Job.__slots__:
                    if name != "place":
                        assert getattr(job, name) == getattr(other, name), name
            assert twin.counts == self.desk.engine.counts
            assert twin.live_bytes == self.desk.engine.live_bytes
            running = self.desk.engine.running.values()
            if all(job.policy.idle_timeout is None for job in running):
                assert twin.next_deadline().boot == self.desk.engine.next_deadline().boot
            self.desk.engine = twin
            self.looks.clear()
            self.wrote.clear()
            for effect in twin.adopt(self.desk.now):
                assert self.live[effect.id] == effect.attempt

        # What must hold.

        @invariant()
        def what_runs_is_what_was_launched(self):
            engine = self.desk.engine
            assert set(engine.running) == set(self.live)
            assert {job.id for job in engine.jobs if job.status is Status.RUNNING} == set(self.live)

        @invariant()
        def who_is_silent_is_looked_at_or_stopped_and_nobody_else_is(self):
            for job in self.desk.engine.running.values():
                idle_s, running = job.policy.idle_timeout, job.running
                if running.stopping == "idle":
                    assert running.stop_boot_at >= running.boot_at + idle_s
                elif running.stopping is None and idle_s is not None:
                    looked_at = any(look.id == job.id for look in self.looks)
                    due_at = self.desk.engine.signs.look_at(job)
                    assert looked_at or due_at > self.desk.boot

        @invariant()
        def counts_are_right(self):
            engine = self.desk.engine
            assert +Counter(engine.counts) == Counter(job.status for job in engine.jobs)
            assert engine.live_bytes == sum(job.weight() for job in engine.jobs)
            queues = Counter(j.policy.queue for j in engine.jobs if j.status in WAITING)
            counted = {name: each.pending for name, each in engine.schedule.counts()}
            assert +Counter(counted) == queues

        @invariant()
        def every_job_adds_up(self):
            for job in self.desk.engine.jobs:
                assert 0 <= job.retries_left <= job.policy.retry_attempts
                assert job.interruptions <= 1
                assert (job.running is not None) == (job.status is Status.RUNNING)
                assert (job.status in FINAL) == (
                    job.history is not None and job.history.finished_at is not None
                )

        # The world outside.

        def about(self, number, command):
            jobs = sorted(self.desk.engine.jobs, key=lambda job: job.number)
            if jobs:
                self.ask(command(jobs[number % len(jobs)]))

        def ask(self, command):
            try:
                decision = self.desk.decide(command)
            except RequestError:
                return None
            self.act(decision)
            return decision.answer

        def act(self, decision):
            rules = self.desk.rules
            for effect in decision.effects:
                match effect:
                    case Look():
                        assert self.live[effect.id] == effect.attempt
                        assert effect.id not in [look.id for look in self.looks], "one at a time"
                        self.looks.append(effect)
                    case Launch():
                        assert effect.id not in self.live, "two attempts at once"
                        assert self.desk.job(effect.id).run_at <= self.desk.wall
                        self.live[effect.id] = effect.attempt
                        assert len(self.live) <= rules.max_running
                    case Settle():
                        assert self.live.pop(effect.id) == effect.attempt
                        self.wrote.pop(effect.id, None)
                        self.looks = [look for look in self.looks if look.id != effect.id]
                    case Stop() | Kill():
                        assert self.live[effect.id] == effect.attempt
                    case Forget():
                        assert self.desk.engine.jobs.get(effect.id) is None

    return Machine


def test_the_engine_keeps_its_promises(machine):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True),
    )
