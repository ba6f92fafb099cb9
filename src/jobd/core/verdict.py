"""What the end of an attempt means for its job.

Pure: the job, how its process ended, and the instant go in; one record comes out.
"""

from __future__ import annotations

from dataclasses import replace

from jobd.core import retry
from jobd.core.job import Ended, Ending, Failure, Job, Kind, Progress, Running
from jobd.core.records import Cancelled, Completed, Failed, Interrupted, Record, Retried
from jobd.core.rules import Rules


def verdict(
    job: Job, ending: Ending, rules: Rules, now: float, jitter: float,
    *, progress: Progress | None = None,
) -> Record:  # fmt: skip
    """What is on record first names the end: after a stop, the stop; else the process's own.

    `progress`: the last that the attempt told.
    """
    running = job.running
    assert running is not None
    outcome = _outcome(job, running, ending)
    ended = _ended(job, running, outcome, ending, now)
    if progress is not None:
        ended = replace(ended, progress=progress)
    if running.cancelled:
        return Cancelled(id=job.id, at=now, ended=ended)
    if ended.failure is None:
        return Completed(id=job.id, at=now, ended=ended, result=ending.result)
    if outcome == "interrupted":
        return _interrupted(job, ended, running.stopping is None, rules, now)
    if job.retries_left == 0 or retry.is_pointless(job.policy, outcome, ending):
        return Failed(id=job.id, at=now, ended=ended, failure=ended.failure)
    failures = job.policy.retry_attempts - job.retries_left + 1
    wait_s = retry.wished_s(outcome, ending)
    if wait_s is None:
        wait_s = retry.delay_s(job.policy, failures, jitter)
    return Retried(id=job.id, at=now, ended=ended, run_at=now + wait_s)


def _outcome(job: Job, running: Running, ending: Ending) -> Kind:
    match running.stopping:
        case None if ending.of_command and ending.kind in ("completed", "exit"):
            return "completed" if ending.exit_code in job.policy.success_codes else "exit"
        case None:
            return ending.kind
        case "shutdown":
            return "interrupted"
        case "idle":
            return "timeout"
        case stopped:
            return stopped


def _interrupted(job: Job, ended: Ended, counted: bool, rules: Rules, now: float) -> Record:
    """Run again without spending a retry, unless that was ruled out or came too often.

    `counted`: it was nobody's wish.
    """
    failure = ended.failure
    assert failure is not None
    if job.policy.on_interrupt == "fail":
        return Failed(id=job.id, at=now, ended=ended, failure=failure)
    if counted and job.interruptions >= rules.max_interruptions:
        often = Failure(
            kind="interrupted",
            message=f"interrupted more than {rules.max_interruptions} times; {failure.message}",
        )
        return Failed(id=job.id, at=now, ended=ended, failure=often)
    run_at = now + job.policy.retry_delay
    return Interrupted(id=job.id, at=now, ended=ended, run_at=run_at, counted=counted)


def _ended(job: Job, running: Running, outcome: Kind, ending: Ending, now: float) -> Ended:
    failure = None
    if outcome != "completed":
        failure = Failure(
            kind=outcome, message=_message(job, outcome, ending), exit_code=ending.exit_code,
            signal=ending.signal, traceback=ending.traceback if outcome == ending.kind else None,
        )  # fmt: skip
    return Ended(
        attempt=running.number, pid=ending.pid, started_at=running.started_at,
        finished_at=_finished_at(running, ending, now),
        outcome=outcome, exit_code=ending.exit_code, signal=ending.signal,
        cpu_time=ending.cpu_time, max_rss=ending.max_rss, failure=failure,
    )  # fmt: skip


def _finished_at(running: Running, ending: Ending, now: float) -> float:
    """It may have ended while no daemon was there; a clock that was set makes no past or future."""
    if ending.ended_at is None:
        return now
    return min(max(ending.ended_at, running.started_at), max(now, running.started_at))


def _message(job: Job, outcome: Kind, ending: Ending) -> str:
    stopping = None if job.running is None else job.running.stopping
    match outcome:
        case "timeout" if stopping == "idle":
            return f"idle: no output and no progress for {job.policy.idle_timeout:g} s"
        case "timeout":
            return f"timed out after {job.policy.timeout:g} s"
        case "cancelled":
            return "cancelled while it ran"
        case "interrupted" if ending.kind != "interrupted":
            return "stopped with the daemon"
        case "memory" if job.policy.limits.memory is not None:
            return f"used more memory than its limit of {_amount(job.policy.limits.memory)}"
        case "cpu_time" if job.policy.limits.cpu_time is not None:
            return f"used more CPU time than its limit of {job.policy.limits.cpu_time:g} s"
        case "signal" if ending.crowded:
            return f"had more than {job.policy.limits.processes} processes"
        case "exit" if not ending.message:
            return f"exited with code {ending.exit_code}"
        case "signal" if not ending.message:
            return f"killed by {ending.signal}"
        case _:
            return ending.message


def _amount(size_bytes: int) -> str:
    """In the largest unit that says it exactly."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes % size == 0:
            return f"{size_bytes // size} {unit}"
    return f"{size_bytes} bytes"
