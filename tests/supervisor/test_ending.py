"""How an attempt ended, as keeper and child tell it: what can't be believed is not taken."""

from __future__ import annotations

import json
import math

import pytest

from jobd.keeper import protocol
from jobd.supervisor.ending import MRO_BYTES, STRAYS_MAX, ending_of, read_outcome

ID = "job0000000000001"
OUTCOME = {
    "callable": True, "pid": 7, "started_at": 1.0, "ended_at": 2.0, "exit_code": 1, "signal": None,
    "cpu_time": 0.1, "max_rss": 1,
}  # fmt: skip
RAISED = {"type": "E", "message": "m", "traceback": "t", "mro": ["app.E", "Exception"]}


def told(**more):
    return ending_of(OUTCOME, json.dumps({"exception": RAISED | more}))


def outcome_read(tmp_path, **more):
    whole = OUTCOME | {"id": ID, "attempt": 1, "version": protocol.VERSION} | more
    (tmp_path / protocol.OUTCOME).write_text(json.dumps(whole))
    return read_outcome(str(tmp_path), ID, 1)


def test_what_a_keeper_of_the_release_before_has_written_is_taken(tmp_path):
    ending = outcome_read(tmp_path, version=1, callable=False, exit_code=3, stdout_bytes=1)
    assert (ending.kind, ending.exit_code, ending.cpu_time) == ("exit", 3, 0.1)
    assert outcome_read(tmp_path, version=protocol.VERSION + 1) is None


def test_the_classes_of_an_exception_are_told():
    assert told().mro == ("app.E", "Exception")


@pytest.mark.parametrize(
    "mro", [None, "app.E", {"app.E": 1}, [1], ["app.E", None], ["x" * (MRO_BYTES + 1)]]
)
def test_classes_that_can_not_be_believed_are_none(mro):
    ending = told(mro=mro)
    assert (ending.kind, ending.message, ending.mro) == ("exception", "E: m", ())


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        ({"retry": None}, ("retry", None)),
        ({"retry": 60}, ("retry", 60.0)),
        ({"retry": 0.5}, ("retry", 0.5)),
        ({"retry": 0}, ("retry", 0.0)),
        ({"fail": True}, ("fail", None)),
    ],
)
def test_a_wish_is_heard(wish, wanted):
    ending = told(wish=wish)
    assert (ending.wish, ending.retry_after) == wanted


@pytest.mark.parametrize(
    "wish",
    [None, 1, "retry", [], {}, {"retry": True}, {"retry": "1"}, {"retry": -1}, {"fail": False},
     {"fail": 1}, {"retry": [1]}, {"again": None}],
)  # fmt: skip
def test_a_wish_that_is_none_is_an_exception_as_any(wish):
    ending = told(wish=wish)
    assert (ending.kind, ending.wish, ending.retry_after) == ("exception", None, None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_wait_that_is_no_number_spoils_the_result(number):
    text = json.dumps({"exception": RAISED | {"wish": {"retry": 0}}}).replace(
        ": 0}", f": {number}}}"
    )
    ending = ending_of(OUTCOME, text)
    assert ending.kind == "exception"
    assert ending.wish is None
    assert ending.retry_after is None or math.isfinite(ending.retry_after)


@pytest.mark.parametrize(
    ("limit", "kind", "crowded"),
    [("memory", "memory", False), ("cpu_time", "cpu_time", False), ("processes", "signal", True)],
)
@pytest.mark.parametrize("callable", [True, False])
def test_an_attempt_that_was_ended_for_a_limit_says_so_whatever_it_left(
    limit, kind, crowded, callable
):
    outcome = OUTCOME | {"limit": limit, "signal": "SIGKILL", "exit_code": None}
    ending = ending_of(outcome | {"callable": callable}, '{"ok":1}')
    assert (ending.kind, ending.crowded, ending.signal) == (kind, crowded, "SIGKILL")
    assert ending.message


def test_the_code_of_a_command_is_told_as_one():
    command = OUTCOME | {"callable": False}
    assert ending_of(command, None).of_command
    assert ending_of(command | {"exit_code": 0}, None).of_command
    assert not ending_of(OUTCOME, None).of_command


def test_what_the_keeper_wrote_of_limit_and_strays_is_read(tmp_path):
    ending = outcome_read(tmp_path, limit="memory", strays=[11, 12])
    assert (ending.kind, ending.strays) == ("memory", (11, 12))
    assert outcome_read(tmp_path, limit=None, strays=[]).strays == ()
    assert outcome_read(tmp_path).strays == ()


@pytest.mark.parametrize(
    "forged",
    [
        {"limit": "disk"}, {"limit": ["memory"]}, {"limit": {}}, {"limit": True}, {"strays": None},
        {"strays": "1"}, {"strays": [0]}, {"strays": [-1]}, {"strays": [True]}, {"strays": [1.0]},
        {"strays": [1 << 23]}, {"strays": [1] * (STRAYS_MAX + 1)}, {"strays": {}},
    ],
    ids=lambda forged: str(forged)[:30],
)  # fmt: skip
def test_an_outcome_that_says_more_than_a_keeper_would_is_not_taken(tmp_path, forged):
    assert outcome_read(tmp_path, **forged) is None


def test_strays_are_told_by_pid_in_the_log(scene, caplog):
    async def act(world):
        id = world.launch("true")
        ended = {"id": id, "attempt": 1, "strays": [11, 12]}
        report = {"report": "ended", "outcome": OUTCOME | ended, "result": None}
        world.supervisor._receive(report)
        await world.until(lambda: world.reports)

    scene(act)
    [record] = [r for r in caplog.records if r.message.startswith("strays_left")]
    assert record.message == "strays_left id=job0000000000001 attempt=1 pids=11,12"
    assert record.levelname == "WARNING"
