"""What an operation costs must not grow with the number of jobs.

Counted are lines of jobd that are run, not seconds: the same on every machine, every time.
"""

import sys

import pytest

from jobd.core.commands import Cancel, Drain, Submit
from jobd.core.job import Status


def lines_run(work):
    """How many lines of Python `work` runs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def crowd(desk, size):
    """`size` jobs: half delayed, half ready but held by a queue without slots."""
    for start in range(0, size, 1000):
        desk.decide(
            Submit(
                tuple(
                    desk.submission(
                        delay_s=1e6 + number * 7919 % size if number % 2 else 0.0,
                        priority=1 + number % 10,
                        queue="open" if number % 2 else "closed",
                    )
                    for number in range(start, start + min(1000, size - start))
                )
            )
        )
    desk.tick()
    return desk


def costs(desk):
    """Lines run by each step of a job's life, beside the crowd."""
    found = {}

    def counted(name, work):
        found[name] = lines_run(work)

    fresh = Submit((desk.submission(request_id="one", retry_attempts=1, retry_delay=5.0),))
    counted("submit", lambda: desk.decide(fresh))
    counted("submit again", lambda: desk.decide(fresh))
    job = desk.engine.jobs.of_stem(fresh.submissions[0].stem)
    counted("start", desk.tick)
    assert job.status is Status.RUNNING
    counted("retry", lambda: desk.end(job, "exit"))
    desk.wait(5)
    counted("come due", desk.tick)
    counted("cancel", lambda: desk.decide(Cancel(job.id)))
    counted("end", lambda: desk.end(job, "signal", signal="SIGTERM"))
    delayed = next(iter(desk.engine.jobs.newest(before=desk.engine.seq // 2)))
    counted("cancel from the middle", lambda: desk.decide(Cancel(delayed.id)))
    counted("idle tick", desk.tick)
    counted("deadline", desk.engine.next_deadline)
    counted("drain", lambda: desk.decide(Drain(on=False)))
    return found


def test_no_step_costs_more_than_a_logarithm_more_with_a_hundred_times_the_jobs(desk_with):
    rules = {"queue_max": {"closed": 0}}
    small = costs(crowd(desk_with(**rules), 200))
    large = costs(crowd(desk_with(**rules), 20_000))
    # A heap of 20,000 is 7 levels deeper than one of 200: 9 lines a level, two or three heaps.
    grown = {name: (small[name], large[name]) for name in small if large[name] > small[name] + 200}
    assert not grown


@pytest.mark.parametrize("size", [100, 10_000])
def test_the_first_page_of_a_list_reads_one_page(desk_with, size):
    desk = crowd(desk_with(queue_max={"closed": 0}), size)
    assert lines_run(lambda: next(desk.engine.jobs.newest())) < 50
