"""Which job is next, and which queue holds which back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.job import Job, Policy
from jobd.core.schedule import QueueCounts, Schedule

NOW = 1000.0
_number = itertools.count(1)


def waiting(schedule, priority=1, run_at=0.0, queue="default", *, ready=True):
    number = next(_number)
    policy = Policy(priority=priority, queue=queue)
    job = Job(
        id=f"{number:016}", number=number, by="uid:1", call=b"{}", policy=policy,
        submitted_at=0.0, run_at=run_at,
    )  # fmt: skip
    schedule.add(job, ready=ready)
    return job


def start(schedule, now=NOW):
    """The next job, started."""
    job = schedule.next(now)
    if job is not None:
        schedule.withdraw(job)
        schedule.occupy(job)
    return job


def drained(schedule, now=NOW):
    return list(iter(lambda: start(schedule, now), None))


def test_priority_goes_before_run_at_and_run_at_before_the_order_of_submission():
    schedule = Schedule({})
    late = waiting(schedule, 5, 20.0)
    early = waiting(schedule, 5, 10.0)
    twin = waiting(schedule, 5, 10.0)
    high = waiting(schedule, 6, 30.0)
    low = waiting(schedule, 1, 0.0)
    assert drained(schedule) == [high, early, twin, late, low]


def test_order_holds_across_queues_that_have_room():
    schedule = Schedule({})
    jobs = [waiting(schedule, priority, queue=f"q{priority % 3}") for priority in range(1, 11)]
    assert drained(schedule) == jobs[::-1]


def test_a_queue_at_its_limit_holds_no_other_queue_back():
    schedule = Schedule({"narrow": 1})
    first, second = (waiting(schedule, 10, queue="narrow") for _ in range(2))
    other = waiting(schedule, 1)
    assert drained(schedule) == [first, other]
    schedule.vacate(first)
    assert drained(schedule) == [second]


def test_nothing_overtakes_in_a_queue_at_its_limit():
    schedule = Schedule({"narrow": 1})
    running = waiting(schedule, 1, queue="narrow")
    assert drained(schedule) == [running]
    low, high = waiting(schedule, 2, queue="narrow"), waiting(schedule, 9, queue="narrow")
    assert drained(schedule) == []
    schedule.vacate(running)
    assert drained(schedule) == [high]
    schedule.vacate(high)
    assert drained(schedule) == [low]


def test_a_limit_of_0_starts_nothing_and_says_nothing_is_due():
    schedule = Schedule({"closed": 0})
    waiting(schedule, queue="closed")
    assert schedule.next(NOW) is None
    assert schedule.next_start_at() is None


def test_new_limits_hold_at_once_and_what_runs_above_them_goes_on():
    schedule = Schedule({"q": 2})
    jobs = [waiting(schedule, queue="q") for _ in range(4)]
    assert drained(schedule) == jobs[:2]
    schedule.follow({"q": 1})
    schedule.vacate(jobs[0])
    assert drained(schedule) == []
    schedule.follow({})
    assert drained(schedule) == jobs[2:]


def test_a_delayed_job_is_next_from_its_instant_on():
    schedule = Schedule({})
    job = waiting(schedule, run_at=NOW + 5, ready=False)
    assert schedule.advance(NOW + 4.999, 100)
    assert schedule.next(NOW + 4.999) is None
    assert schedule.next_ready_at() == NOW + 5
    assert schedule.next_start_at() is None
    assert schedule.advance(NOW + 5, 100)
    assert schedule.next(NOW + 5) is job
    assert schedule.next_ready_at() is None
    assert schedule.next_start_at() == NOW + 5


def test_after_the_clock_was_set_back_a_job_waits_for_its_time_again():
    schedule = Schedule({})
    later = waiting(schedule, 9, run_at=NOW)
    now = waiting(schedule, 1, run_at=NOW - 100)
    assert drained(schedule, NOW - 50) == [now]
    assert schedule.next_ready_at() == NOW
    assert schedule.advance(NOW, 100)
    assert drained(schedule, NOW) == [later]


def test_a_job_can_be_withdrawn_from_wherever_it_is():
    schedule = Schedule({"q": 1})
    jobs = [waiting(schedule, p, queue=q) for p, q in itertools.product((1, 2, 3), ("q", "r"))]
    delayed = waiting(schedule, run_at=NOW + 1, queue="q", ready=False)
    for job in (delayed, jobs[2], jobs[5], jobs[0]):
        schedule.withdraw(job)
        assert job.place == -1
    assert drained(schedule) == [jobs[4], jobs[3], jobs[1]]


def test_counts_name_each_queue_with_something_in_it_and_each_with_a_limit():
    schedule = Schedule({"quiet": 7})
    waiting(schedule, queue="a")
    waiting(schedule, queue="b", run_at=NOW + 1, ready=False)
    start(schedule)
    assert dict(schedule.counts()) == {
        "default": QueueCounts(0, 0, None), "quiet": QueueCounts(0, 0, 7),
        "a": QueueCounts(0, 1, None), "b": QueueCounts(1, 0, None),
    }  # fmt: skip


def test_a_queue_of_which_nothing_is_left_is_forgotten():
    """Or a client that makes up names would fill the memory."""
    schedule = Schedule({})
    for number in range(100):
        waiting(schedule, queue=f"made-up-{number}")
    for job in drained(schedule):
        schedule.vacate(job)
    assert list(schedule._queues) == []
    assert dict(schedule.counts()) == {"default": QueueCounts(0, 0, None)}


JOBS = st.lists(
    st.tuples(st.integers(1, 10), st.integers(0, 5), st.sampled_from("abc")), max_size=40
)


@given(JOBS, st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)), st.randoms())
def test_it_starts_what_a_search_through_all_would_start(wanted, limits, dice):
    schedule = Schedule(limits)
    left = [waiting(schedule, p, float(at), queue) for p, at, queue in wanted]
    running = []
    for _ in range(3 * len(left)):
        if running and dice.random() < 0.4:
            schedule.vacate(running.pop(dice.randrange(len(running))))
        names = [job.policy.queue for job in running]
        startable = [
            j for j in left if names.count(j.policy.queue) < limits.get(j.policy.queue, 99)
        ]
        best = min(startable, key=lambda j: (-j.policy.priority, j.run_at, j.number), default=None)
        assert start(schedule) is best
        if best is not None:
            left.remove(best)
            running.append(best)


@pytest.mark.parametrize("missing", [None, 3.0])
def test_next_start_at_is_that_of_the_job_that_is_next(missing):
    schedule = Schedule({})
    if missing is not None:
        waiting(schedule, run_at=missing)
    assert schedule.next_start_at() == missing


def test_of_very_many_that_come_due_at_once_a_bounded_part_is_made_ready():
    schedule = Schedule({})
    for priority in (1, 2, 3):
        waiting(schedule, priority, run_at=NOW, ready=False)
    assert not schedule.advance(NOW, 2)
    assert schedule.next_ready_at() == NOW
    assert schedule.advance(NOW, 2)
    assert [job.policy.priority for job in drained(schedule)] == [3, 2, 1]
