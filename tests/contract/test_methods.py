"""The methods of the protocol that look, wait and change a job."""

from __future__ import annotations

import time

import pytest
from outside.peer import Refused

covers = pytest.mark.covers

TRUE = ["/bin/true"]
DOCUMENT = {
    "target", "method", "args", "kwargs", "command", "queue", "priority", "delay", "run_at",
    "retry_attempts", "retry_delay", "backoff", "retry_max_delay", "retry_jitter", "timeout",
    "kill_grace", "stop_signal", "on_interrupt", "label", "tags", "env", "cwd",
    "id", "status", "stopping", "submitted_at", "submitted_by", "started_at", "finished_at",
    "attempt", "retries_left", "progress", "result", "failure", "attempts",
}  # fmt: skip
MAY_SHOW = {"request_id", "idle_timeout", "expires", "success_codes", "no_retry_on", "key",
            "if_exists", "after", "weight", "limits"}  # fmt: skip
ATTEMPT = {
    "attempt", "pid", "started_at", "finished_at", "outcome", "exit_code", "signal", "cpu_time",
    "max_rss", "failure",
}  # fmt: skip
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@covers("method:status", "param:status.id")
def test_a_document_has_every_field(shared):
    import re

    done = shared.run(target="jobs:boom", label="l")
    assert set(done) >= DOCUMENT
    assert set(done) <= DOCUMENT | MAY_SHOW
    assert done == shared.status(done["id"])
    for name in ("submitted_at", "run_at", "started_at", "finished_at"):
        assert re.fullmatch(INSTANT, done[name]), name
    import os

    assert done["submitted_by"] == f"uid:{os.getuid()}"
    [attempt] = done["attempts"]
    assert set(attempt) == ATTEMPT
    assert set(attempt["failure"]) == {"kind", "message", "exit_code", "signal", "traceback"}


def test_ids_are_16_characters_of_crockford_base_32(shared):
    ids = {shared.submit(command=TRUE, delay=3600) for _ in range(20)}
    assert len(ids) == 20
    for id in ids:
        assert len(id) == 16
        assert set(id) <= set("0123456789abcdefghjkmnpqrstvwxyz")
        shared.call("cancel", id=id)


@covers("method:status", "error:-32002")
def test_a_prefix_of_4_or_more_will_do_where_it_is_unambiguous(shared):
    id = shared.submit(command=TRUE, delay=3600)
    assert shared.call("status", id=id[:12])["id"] == id
    assert shared.refusal("status", id=id[:3]).code in (-32002, -32602)
    assert shared.refusal("status", id="").code in (-32002, -32602)
    unknown = shared.refusal("status", id="zzzzzzzzzzzzzzzz")
    assert (unknown.code, unknown.data["type"]) == (-32002, "not_found")
    assert shared.refusal("status", id=id + "0").code == -32002
    assert shared.call("cancel", id=id[:12])["id"] == id


@covers("error:-32002")
def test_an_ambiguous_prefix_is_not_found_and_names_candidates(jobd):
    """Of 10,000 ids some 48 pairs share their first 4 of 32 letters."""
    d = jobd()
    jobs = [{"command": TRUE, "delay": 3600} for _ in range(10_000)]
    ids = [job["id"] for job in d.call("submit_many", jobs=jobs)["jobs"]]
    by_prefix = {}
    for id in ids:
        by_prefix.setdefault(id[:4], []).append(id)
    prefix, same = next((p, s) for p, s in by_prefix.items() if len(s) > 1)
    for method in ("status", "cancel", "remove"):
        refused = d.refusal(method, id=prefix)
        assert refused.code == -32002
        assert sorted(refused.data["candidates"]) == sorted(same)
    told = d.jobctl("status", prefix)
    assert told.code == 5
    assert all(id in told.err for id in same)


def test_of_many_attempts_the_first_and_last_20_are_kept(shared):
    done = shared.run(command=["/bin/false"], retry_attempts=44, retry_delay=0)
    numbers = [attempt["attempt"] for attempt in done["attempts"]]
    assert numbers == [*range(1, 21), *range(26, 46)]
    assert done["attempt"] == 45


@covers("method:list")
def test_list_shows_documents_without_what_is_long_newest_first(shared):
    queue = f"q{time.time_ns()}"
    ids = [shared.submit(target="jobs:boom", queue=queue, retry_attempts=0) for _ in range(3)]
    for id in ids:
        shared.final(id)
    page = shared.call("list", queue=queue)
    assert [job["id"] for job in page["jobs"]] == ids[::-1]
    assert page["cursor"] is None
    left_out = {"attempts", "result", "args", "kwargs", "env"}
    for job in page["jobs"]:
        assert set(job) >= DOCUMENT - left_out
        assert not set(job) & left_out
        assert set(job["failure"]) == {"kind", "message", "exit_code", "signal"}


@covers("param:list.status", "param:list.queue", "param:list.target", "param:list.tag")
def test_list_filters_by_status_queue_target_and_tag(shared):
    queue = f"q{time.time_ns()}"
    good = shared.run(command=TRUE, queue=queue, tags=["t"])["id"]
    bad = shared.run(target="jobs:boom", queue=queue)["id"]
    waiting = shared.submit(target="jobs.nothing", queue=queue, delay=3600, tags=["t"])

    def listed(**filters):
        return {job["id"] for job in shared.call("list", queue=queue, **filters)["jobs"]}

    assert listed() == {good, bad, waiting}
    assert listed(status="completed") == {good}
    assert listed(status=["failed", "pending"]) == {bad, waiting}
    assert listed(status="running") == set()
    assert listed(tag="t") == {good, waiting}
    assert listed(target="jobs:boom") == {bad}
    assert listed(target="jobs.nothing", status="pending") == {waiting}
    shared.call("cancel", id=waiting)


@covers("param:list.limit", "param:list.cursor")
def test_list_goes_page_by_page(shared):
    queue = f"q{time.time_ns()}"
    jobs = [{"command": TRUE, "queue": queue, "delay": 3600} for _ in range(25)]
    ids = [job["id"] for job in shared.call("submit_many", jobs=jobs)["jobs"]]
    seen, cursor, pages = [], None, 0
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = shared.call("list", queue=queue, limit=7, **more)
        assert len(page["jobs"]) <= 7
        seen += [job["id"] for job in page["jobs"]]
        cursor, pages = page["cursor"], pages + 1
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert pages >= 4
    for id in ids:
        shared.call("cancel", id=id)


@covers("param:list.limit", "param:list.cursor", "param:list.status")
@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 1001}, {"limit": True}, {"limit": "5"}, {"cursor": "nonsense"},
     {"cursor": 5}, {"status": "done"}, {"status": ["done"]}, {"status": [1]}, {"queue": 1},
     {"colour": "red"}],
)  # fmt: skip
def test_list_refuses_what_it_does_not_know(shared, params):
    assert shared.refusal("list", **params).code == -32602


@covers("method:wait", "param:wait.ids")
def test_wait_answers_in_the_order_of_ids_when_all_are_final(shared, peer):
    gate = shared.gate()
    quick = shared.run(command=TRUE)["id"]
    slow = shared.submit(command=gate.command)
    asked = peer.send("wait", {"ids": [slow, quick, slow]})
    shared.until_status(slow, "running")
    assert not peer.answered(asked)
    gate.open()
    answer = peer.answer(asked)
    assert answer["timed_out"] is False
    assert [job["id"] for job in answer["jobs"]] == [slow, quick, slow]
    assert all(job["status"] == "completed" for job in answer["jobs"])
    assert set(answer["jobs"][0]) >= DOCUMENT


@covers("param:wait.any")
def test_wait_for_any_answers_at_the_first(shared, peer):
    gates = [shared.gate() for _ in range(2)]
    ids = [shared.submit(command=gate.command) for gate in gates]
    asked = peer.send("wait", {"ids": ids, "any": True})
    gates[1].open()
    answer = peer.answer(asked)
    assert [job["status"] for job in answer["jobs"]] == ["running", "completed"]
    assert answer["timed_out"] is False
    gates[0].open()


@covers("param:wait.timeout")
def test_wait_with_timeout_0_asks_once_and_with_more_waits_so_long(shared):
    id = shared.submit(command=TRUE, delay=3600)
    for timeout in (0, 0.1):
        before = time.monotonic()
        answer = shared.call("wait", ids=[id], timeout=timeout)
        assert answer["timed_out"] is True
        assert answer["jobs"][0]["status"] == "pending"
        assert time.monotonic() - before >= timeout
    shared.call("cancel", id=id)
    assert shared.call("wait", ids=[id], timeout=0)["timed_out"] is False


@covers("param:wait.ids", "error:-32002")
def test_an_unknown_id_is_an_error_for_the_whole_wait(shared):
    id = shared.run(command=TRUE)["id"]
    assert shared.refusal("wait", ids=[id, "zzzzzzzzzzzzzzzz"]).code == -32002


@covers("param:wait.ids", "param:wait.timeout", "param:wait.any")
@pytest.mark.parametrize(
    "params",
    [{}, {"ids": "abcd"}, {"ids": [1]}, {"ids": [{"a": 1}]}, {"ids": ["zzzz"], "timeout": -1},
     {"ids": ["zzzz"], "timeout": True}, {"ids": ["zzzz"], "any": 1}],
)  # fmt: skip
def test_wait_refuses_what_it_does_not_know(shared, params):
    assert shared.refusal("wait", **params).code == -32602


@covers("method:retry", "param:retry.id")
def test_retry_brings_a_final_job_back(shared):
    path = shared.scratch()
    fields = {"target": "jobs:count", "args": [str(path), 3], "retry_attempts": 1, "retry_delay": 0}
    done = shared.run(**fields)
    assert (done["status"], done["attempt"], done["retries_left"]) == ("failed", 2, 0)
    assert shared.call("retry", id=done["id"]) == {"id": done["id"], "status": "pending"}
    again = shared.final(done["id"])
    assert (again["status"], again["attempt"], again["result"]) == ("completed", 3, 3)
    assert again["failure"] is None
    assert again["retries_left"] == 1, "retries begin anew"
    assert [attempt["attempt"] for attempt in again["attempts"]] == [1, 2, 3]


@covers("param:retry.delay")
def test_retry_with_a_delay_waits_and_shows_nothing_of_the_last_end(shared):
    done = shared.run(target="jobs:give", args=[5])
    assert done["result"] == 5
    before = time.time()
    shared.call("retry", id=done["id"], delay=3600)
    document = shared.status(done["id"])
    assert document["status"] == "pending"
    assert (document["result"], document["failure"], document["finished_at"]) == (None,) * 3
    from outside.waiting import epoch

    assert 3599 <= epoch(document["run_at"]) - before <= 3630
    assert shared.call("cancel", id=done["id"])["status"] == "cancelled"
    assert shared.refusal("retry", id=done["id"], delay=-1).code == -32602


@covers("method:retry", "error:-32003")
def test_only_a_final_job_is_retried(shared):
    id = shared.submit(command=TRUE, delay=3600)
    assert shared.refusal("retry", id=id).code == -32003
    shared.call("cancel", id=id)
    assert shared.call("retry", id=id)["status"] == "pending"
    assert shared.final(id)["status"] == "completed"


@covers("method:remove", "param:remove.id")
def test_remove_forgets_a_final_job_and_its_output(shared):
    from outside.waiting import until

    done = shared.final(shared.sh("echo something"))
    id = done["id"]
    output = [p for p in (shared.log_dir / "output").rglob("*") if id in str(p) and p.is_file()]
    assert output
    assert shared.call("remove", id=id) == {}
    for method in ("status", "logs", "remove", "cancel", "retry"):
        assert shared.refusal(method, id=id).code == -32002
    assert id not in {job["id"] for job in shared.call("list", limit=1000)["jobs"]}
    until(lambda: not any(path.exists() for path in output))


@covers("method:remove", "error:-32003")
def test_only_a_final_job_is_removed(shared):
    id = shared.submit(command=TRUE, delay=3600)
    assert shared.refusal("remove", id=id).code == -32003
    shared.call("cancel", id=id)
    assert shared.call("remove", id=id) == {}


@covers("method:submit_many", "param:submit_many.jobs")
def test_many_are_submitted_in_order(shared):
    answer = shared.call(
        "submit_many", jobs=[{"command": TRUE}, {"target": "jobs:give", "args": [1]}]
    )
    assert list(answer) == ["jobs"]
    assert [set(job) for job in answer["jobs"]] == [{"id", "status", "duplicate"}] * 2
    first, second = (shared.final(job["id"]) for job in answer["jobs"])
    assert (first["command"], second["result"]) == (TRUE, 1)
    assert shared.call("submit_many", jobs=[]) == {"jobs": []}


@covers("method:submit_many", "error:-32001")
def test_many_are_stored_all_or_not_at_all(shared):
    queue = f"q{time.time_ns()}"
    good = {"command": TRUE, "queue": queue}
    for bad, code in (
        ({"command": []}, -32602), ({"target": "os:system"}, -32001), ({"colour": 1}, -32602),
        ("nonsense", -32602),
    ):  # fmt: skip
        refused = shared.refusal("submit_many", jobs=[good, bad, good])
        assert refused.code == code
        if code == -32602:
            assert all("1" in field for field in refused.fields), "which of them it was"
    assert shared.call("list", queue=queue)["jobs"] == []


@covers("method:submit_many", "field:request_id")
def test_in_one_batch_the_second_of_a_request_id_is_the_firsts_duplicate(shared):
    one = {"command": TRUE, "request_id": f"r{time.time_ns()}"}
    first, second = shared.call("submit_many", jobs=[one, one])["jobs"]
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert first["id"] == second["id"]
    conflict = shared.refusal("submit_many", jobs=[{"command": TRUE}, {**one, "priority": 3}])
    assert conflict.code == -32003


@covers("param:submit_many.jobs")
def test_many_are_at_most_10000(shared):
    jobs = [{"command": TRUE}] * 10_001
    assert shared.refusal("submit_many", jobs=jobs).code == -32602
    assert shared.refusal("submit_many").code == -32602
    assert shared.refusal("submit_many", jobs={}).code == -32602


@covers("method:stats")
def test_stats_tell_how_many_and_how_fast(shared):
    shared.run(command=TRUE)
    stats = shared.call("stats")
    statuses = {"pending", "running", "pending_retry", "completed", "failed", "cancelled"}
    assert set(stats["jobs"]) == statuses
    assert stats["jobs"]["completed"] >= 1
    assert set(stats["queues"]["default"]) == {"pending", "running", "max_running", "paused"}
    assert stats["queues"]["default"]["max_running"] is None
    assert stats["max_running"] == 16
    assert stats["uptime_s"] > 0
    assert isinstance(stats["journal"], dict)
    assert "throughput" in stats
    assert any("wait" in name for name in stats)
    assert any("run" in name and name not in ("running", "max_running") for name in stats)


@covers("method:ping")
def test_ping_tells_who_is_there(shared):
    import re

    answer = shared.call("ping")
    assert set(answer) >= {"name", "version", "protocol", "pid", "started_at", "config"}
    assert (answer["name"], answer["protocol"], answer["pid"]) == ("jobd", 1, shared.pid)
    assert answer["config"] == str(shared.config_path)
    assert re.fullmatch(INSTANT, answer["started_at"])


LATER = [
    pytest.param("update", {"id": "zzzz", "priority": 2}, marks=covers("method:update")),
    pytest.param("explain", {"id": "zzzz"}, marks=covers("method:explain")),
    pytest.param("pause", {}, marks=covers("method:pause")),
    pytest.param("resume", {}, marks=covers("method:resume")),
    pytest.param("schedules", {}, marks=covers("method:schedules")),
]


@pytest.mark.parametrize(("method", "params"), LATER)
def test_a_method_that_comes_later_says_so(shared, method, params):
    refused = shared.refusal(method, **params)
    assert refused.code == -32601
    assert "later" in refused.message


@covers("error:-32601")
def test_a_method_that_there_is_not_is_not_found(shared, peer):
    assert shared.refusal("submit_everything").code == -32601
    assert shared.refusal("rpc.discover").code == -32601
    with pytest.raises(Refused):
        peer.call("")


@covers("param:status.id", "param:cancel.id", "param:retry.id", "param:remove.id", "param:logs.id")
@pytest.mark.parametrize("id", [None, 1, True, [], {}, {"a": 1}, ["abcd"], 1.5])
def test_an_id_that_is_no_string_is_refused(shared, id):
    for method in ("status", "cancel", "retry", "remove", "logs"):
        refused = shared.refusal(method, id=id)
        assert (refused.code, refused.fields) == (-32602, {"id"})


def test_parameters_go_by_name(shared, peer):
    with pytest.raises(Refused) as refused:
        peer.answer(peer.send("status", ["zzzzzzzzzzzzzzzz"]))
    assert refused.value.code == -32602
    for nothing in ({}, [], None):
        assert peer.answer(peer.send("ping", nothing))["name"] == "jobd"
