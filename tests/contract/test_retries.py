"""A failed job is run again: how often, and when."""

from __future__ import annotations

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers

FALSE = ["/bin/false"]


def waits(jobd, **fields):
    """Of a job that fails each time: from each attempt's end to the next one's `run_at`, and the
    document."""
    with jobd.peer() as peer:
        seq = peer.answer(peer.send("events", {"status": "pending_retry"}, id="e"))["seq"]
        done = jobd.run(command=FALSE, **fields)
        retried = []
        while len(retried) < len(done["attempts"]) - 1:
            note = peer.note()
            if note["id"] == done["id"]:
                assert note["seq"] > seq
                retried.append(epoch(note["run_at"]))
    ends = [epoch(attempt["finished_at"]) for attempt in done["attempts"]]
    starts = [epoch(attempt["started_at"]) for attempt in done["attempts"]]
    assert all(start >= at for start, at in zip(starts[1:], retried, strict=True))
    return [at - end for at, end in zip(retried, ends, strict=False)], done


@covers("field:retry_attempts")
def test_retry_attempts_is_how_many_times_it_is_run_again(shared):
    done = shared.run(target="jobs:boom", retry_attempts=2, retry_delay=0)
    assert (done["status"], done["attempt"], done["retries_left"]) == ("failed", 3, 0)
    assert [attempt["attempt"] for attempt in done["attempts"]] == [1, 2, 3]


@covers("field:retry_attempts")
def test_built_in_are_three_retries_for_a_callable_and_none_for_a_command(shared):
    for fields, retries in (({"target": "jobs:nothing"}, 3), ({"command": ["/bin/true"]}, 0)):
        id = shared.submit(**fields)
        document = shared.final(id)
        assert (document["retry_attempts"], document["retries_left"]) == (retries, retries)


@covers("field:retry_attempts")
@pytest.mark.parametrize("attempts", [-1, 1001, 1.0, True, "3", None])
def test_retry_attempts_is_an_integer_from_0_to_1000(shared, attempts):
    refused = shared.refusal("submit", command=FALSE, retry_attempts=attempts)
    assert refused.fields == {"retry_attempts"}


def test_a_job_that_succeeds_at_its_second_attempt_is_completed(shared):
    path = shared.scratch()
    done = shared.run(target="jobs:count", args=[str(path), 2], retry_attempts=3, retry_delay=0)
    assert (done["status"], done["result"], done["attempt"]) == ("completed", 2, 2)
    assert done["failure"] is None
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["exception", "completed"]
    assert done["retries_left"] == 2


@covers("field:retry_delay")
def test_retry_delay_is_the_wait_before_the_first_retry(shared):
    id = shared.submit(command=FALSE, retry_attempts=1, retry_delay=600)
    document = shared.until_status(id, "pending_retry")
    end = epoch(document["attempts"][0]["finished_at"])
    assert epoch(document["run_at"]) - end == pytest.approx(600, abs=0.2)
    assert document["retries_left"] == 0
    assert document["failure"] is None or document["failure"]["kind"] == "exit"
    assert shared.call("cancel", id=id)["status"] == "cancelled"


@covers("field:retry_delay")
def test_five_seconds_are_the_built_in_wait(shared):
    id = shared.submit(command=FALSE, retry_attempts=1)
    document = shared.until_status(id, "pending_retry")
    end = epoch(document["attempts"][0]["finished_at"])
    assert epoch(document["run_at"]) - end == pytest.approx(5, abs=0.2)
    shared.call("cancel", id=id)


@covers("field:retry_delay", "field:retry_max_delay")
@pytest.mark.parametrize("field", ["retry_delay", "retry_max_delay"])
@pytest.mark.parametrize("value", [-0.5, True, "5", None, 1e11])
def test_a_wait_is_a_number_of_seconds(shared, field, value):
    assert shared.refusal("submit", command=FALSE, **{field: value}).fields == {field}


@covers("field:backoff")
@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("fixed", [0.06, 0.06, 0.06]),
        ("linear", [0.06, 0.12, 0.18]),
        ("exponential", [0.06, 0.12, 0.24]),
        ([0.02, 0.09], [0.02, 0.09, 0.09]),
    ],
)
def test_backoff_shapes_the_waits(shared, backoff, expected):
    measured, done = waits(shared, retry_attempts=3, retry_delay=0.06, backoff=backoff)
    assert measured == pytest.approx(expected, abs=0.02)
    assert done["backoff"] == backoff


@covers("field:backoff")
@pytest.mark.parametrize("backoff", ["cubic", [], [-1], [True], ["1"], 5, None, {}])
def test_a_backoff_of_another_shape_is_refused(shared, backoff):
    refused = shared.refusal("submit", command=FALSE, backoff=backoff)
    assert all(field.startswith("backoff") for field in refused.fields)


@covers("field:retry_max_delay")
@pytest.mark.parametrize("backoff", ["exponential", "linear", "fixed", [600]])
def test_no_wait_is_longer_than_retry_max_delay(shared, backoff):
    measured, _ = waits(
        shared, retry_attempts=2, retry_delay=60, backoff=backoff, retry_max_delay=0.05
    )
    assert measured == pytest.approx([0.05, 0.05], abs=0.02)


@covers("field:retry_jitter")
def test_jitter_adds_up_to_that_fraction_at_random(shared):
    ids = [
        shared.submit(command=FALSE, retry_attempts=1, retry_delay=100, retry_jitter=0.5)
        for _ in range(8)
    ]
    added = set()
    for id in ids:
        document = shared.until_status(id, "pending_retry")
        wait = epoch(document["run_at"]) - epoch(document["attempts"][0]["finished_at"])
        assert 99.9 <= wait <= 150.2
        added.add(round(wait, 2))
        shared.call("cancel", id=id)
    assert len(added) > 1, "at random"


@covers("field:retry_jitter")
@pytest.mark.parametrize("jitter", [-0.1, 1.1, True, "0", None])
def test_jitter_is_a_fraction(shared, jitter):
    refused = shared.refusal("submit", command=FALSE, retry_jitter=jitter)
    assert refused.fields == {"retry_jitter"}


def test_each_attempt_keeps_its_own_output(shared):
    path = shared.scratch()
    id = shared.sh(
        'echo try >>"$1"; wc -l <"$1"; exit 1', str(path), retry_attempts=2, retry_delay=0
    )
    shared.final(id)
    assert [shared.out(id, attempt=n).strip() for n in (1, 2, 3)] == ["1", "2", "3"]
    assert shared.out(id).strip() == "3", "without a number it is the latest"


def test_a_job_waiting_for_its_retry_survives_with_its_run_at(jobd):
    d = jobd()
    id = d.submit(command=FALSE, retry_attempts=1, retry_delay=600, retry_jitter=1)
    before = d.until_status(id, "pending_retry")
    d.kill()
    d.start()
    assert d.status(id) == before
    until(lambda: d.call("stats")["jobs"]["pending_retry"] == 1)
