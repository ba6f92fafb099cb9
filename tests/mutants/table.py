"""The bugs: each is one small change that would break a promise, and the tests that must see it.

`old` stands exactly once in the file.  If a change of the source makes one stale, mend the
entry, do not drop it.
"""

from __future__ import annotations

from typing import NamedTuple

SIMULATION = ("tests/simulation",)
SETTLING = "tests/supervisor/test_settling.py"


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


ANSWER = "        for call, outcome in zip(calls, outcomes, strict=True): _answer(call, outcome)\n"
ACT = "        for effect in [e for d in decisions for e in d.effects]: self.act(effect)\n"

MUTANTS = [
    # The order of decide, record, act.
    Mutant(
        "answer before sync", "src/jobd/daemon.py",
        "        if facts:\n            records = ",
        f"{ANSWER}        if facts:\n            records = ",
        SIMULATION,
    ),
    Mutant(
        "effect before sync", "src/jobd/daemon.py",
        "        if facts:\n            records = ",
        f"{ACT}        if facts:\n            records = ",
        SIMULATION,
    ),
    Mutant(
        "log line before sync", "src/jobd/daemon.py",
        "        if facts:\n            records = ",
        "        self.announce(facts)\n        if facts:\n            records = ",
        SIMULATION,
    ),
    # What a disk forgets.
    Mutant(
        "a commit is not synced", "src/jobd/journal/store.py",
        "        before_s = watch()\n        self._sync()\n",
        "        before_s = watch()\n",
        SIMULATION,
    ),
    Mutant(
        "directory sync left out", "src/jobd/journal/segments.py",
        "            active.sync()\n            files.sync_directory(directory)\n",
        "            active.sync()\n",
        SIMULATION,
    ),
    Mutant(
        "a segment is left unsynced when the next one begins", "src/jobd/journal/store.py",
        "            self._active.sync()\n",
        "            pass\n",
        SIMULATION,
    ),
    Mutant(
        "a torn end is not cut off", "src/jobd/journal/store.py",
        "                self._active.cut(torn.place.offset)\n",
        "                pass\n",
        SIMULATION,
    ),
    Mutant(
        "a batch is several commits", "src/jobd/daemon.py",
        "            await self.journal.append(facts[0].seq, records, self.engine.promised_bytes)",
        "            for f in facts: await self.journal.append(f.seq, [f.record], 1 << 20)",
        SIMULATION,
    ),
    Mutant(
        "commit applied in part", "src/jobd/core/engine.py",
        "        self.seq = seq - 1\n        for record in records:",
        "        self.seq = seq - 1\n        for record in records[:1]:",
        SIMULATION,
    ),
    Mutant(
        "a segment is dropped before its jobs are said again", "src/jobd/compaction.py",
        "        for start in range(0, len(ids), KEEP_MAX):",
        "        for start in range(KEEP_MAX, len(ids), KEEP_MAX):",
        SIMULATION,
    ),
    # Attempts.
    Mutant(
        "attempt started before the last one settled", "src/jobd/supervisor/settling.py",
        "    _end({orphan.marker: claim for orphan, claim in claimed.items()})\n",
        "",
        (f"{SETTLING}::test_daemon_and_keeper_killed_together_leave_nothing_running",),
    ),
    Mutant(
        "two may claim an attempt", "src/jobd/keeper/files.py",
        'return os.open(f"{directory}/{CLAIM}", _NEW | os.O_EXCL, 0o600)',
        'return os.open(f"{directory}/{CLAIM}", _NEW, 0o600)',
        (f"{SETTLING}::test_an_attempt_without_claim_never_ran_and_never_will",),
    ),
    Mutant(
        "wrong boot id accepted", "src/jobd/core/patience.py",
        "if running.killed or running.boot_id != self._boot_id:",
        "if running.killed:",
        ("tests/core/test_replay.py",),
    ),
    Mutant(
        "wrong boot id accepted when settling", "src/jobd/supervisor/settling.py",
        "        elif not orphan.this_boot:\n",
        "        elif False:\n",
        ("tests/simulation/test_settling.py",),
    ),
    Mutant(
        "an attempt number is used twice", "src/jobd/core/lifecycle.py",
        "        case records.NeverRan():\n            job.running = None\n",
        "        case records.NeverRan():\n            job.running = None; job.attempt -= 1\n",
        ("tests/core/test_attempts.py",),
    ),
    Mutant(
        "an outcome is told and not written", "src/jobd/keeper/files.py",
        '    os.rename(part, f"{directory}/{OUTCOME}")\n',
        "",
        (f"{SETTLING}::test_what_ended_while_no_daemon_was_there_is_told_to_the_next",),
    ),
    # Time and order.
    Mutant(
        "retry without its delay", "src/jobd/core/verdict.py",
        "run_at = now + retry.delay_s(job.policy, failures, jitter)",
        "run_at = now",
        ("tests/core/test_verdict.py",),
    ),
    Mutant(
        "priority upside down", "src/jobd/core/schedule.py",
        "queue.ready.push((-job.policy.priority,",
        "queue.ready.push((job.policy.priority,",
        ("tests/core/test_schedule.py",),
    ),
    Mutant(
        "deadline of a final job fires", "src/jobd/core/engine.py",
        "            self._patience.remove(job)\n",
        "            job.place = -1\n",
        # Not the whole file: where the job is stopped first, this bug never ends its tick.
        ("tests/core/test_attempts.py::test_the_deadlines_of_a_job_that_has_ended_are_forgotten",),
    ),
    Mutant(
        "a delayed job starts early after the clock was set back", "src/jobd/core/schedule.py",
        "            if job.run_at <= now:\n                return job\n",
        "            if job is not None:\n                return job\n",
        ("tests/core/test_time.py",),
    ),
    Mutant(
        "a cancel during a timeout is forgotten", "src/jobd/core/lifecycle.py",
        'running.cancelled = running.cancelled or record.why == "cancelled"',
        'running.cancelled = running.stopping == "cancelled"',
        ("tests/core/test_attempts.py",),
    ),
    Mutant(
        "no mercy for jobs that have just ended", "src/jobd/core/graveyard.py",
        "(MERCY_S if crowded else max(MERCY_S, keep_s[status]))",
        "(0.0 if crowded else keep_s[status])",
        ("tests/core/test_retention.py",),
    ),
    # Memory.
    Mutant(
        "a field forgotten in replay", "src/jobd/core/lifecycle.py",
        "    job.interruptions = record.interruptions\n",
        "",
        ("tests/core/test_lifecycle.py",),
    ),
    Mutant(
        "a repeated request makes a second job", "src/jobd/core/engine.py",
        "            return Submittal(job.id, job.status, duplicate=True)",
        "            pass",
        ("tests/core/test_submit.py::test_asking_again_with_the_same_request_id_finds_the_same_job",),
    ),
]  # fmt: skip
