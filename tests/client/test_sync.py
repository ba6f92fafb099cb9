"""`Client`, `run_background_job` and job handles, over a real socket."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from jobd.client import (
    Client,
    Conflict,
    DaemonUnavailable,
    Draining,
    InvalidParams,
    JobdError,
    JobFailed,
    NotFound,
    Unauthorized,
    run_background_job,
)
from jobd.client.connection import LATE_S, seconds_left
from jobd.errors import InvalidRequest, PeerFault

JOB = "a" * 16
STORED = {"id": JOB, "status": "pending", "duplicate": False}


class SendWelcomeEmail:
    pass


def test_run_background_job_returns_the_id_and_sends_what_was_said(daemon, jobs):
    daemon.on("submit", STORED)
    assert run_background_job("app.jobs.SendWelcomeEmail", "handle", {"user_id": 123}) == JOB
    method, params = daemon.asked()
    assert params.pop("request_id")
    assert (method, params) == (
        "submit",
        {"target": "app.jobs.SendWelcomeEmail", "method": "handle", "kwargs": {"user_id": 123}},
    )


def test_run_background_job_takes_a_class_positional_arguments_and_fields(daemon):
    daemon.on("submit", STORED)
    run_background_job(
        SendWelcomeEmail, "handle", ["a", "b"], retry_attempts=5, retry_delay=10, priority=5,
        delay=60, queue="mail",
    )  # fmt: skip
    _, params = daemon.asked()
    del params["request_id"]
    assert params == {
        "target": f"{__name__}:SendWelcomeEmail", "method": "handle", "args": ["a", "b"],
        "retry_attempts": 5, "retry_delay": 10, "priority": 5, "delay": 60, "queue": "mail",
    }  # fmt: skip


def test_zero_retries_are_sent(daemon):
    daemon.on("submit", STORED)
    run_background_job("app:f", retry_attempts=0, retry_delay=0)
    _, params = daemon.asked()
    assert (params["retry_attempts"], params["retry_delay"]) == (0, 0)


def test_a_string_of_params_is_a_type_error_and_nothing_is_sent(daemon):
    with pytest.raises(TypeError):
        run_background_job("app:f", None, "user_id=123")
    assert daemon.all_asked() == []


def test_where_nobody_answers_that_is_told_at_once_with_path_and_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBD_SOCKET", str(tmp_path / "none"))
    before = time.monotonic()
    with pytest.raises(DaemonUnavailable, match="jobd run") as unavailable:
        run_background_job("app:f")
    assert time.monotonic() - before < 1
    assert unavailable.value.socket == str(tmp_path / "none")
    assert str(tmp_path / "none") in str(unavailable.value)


def test_a_socket_file_without_a_daemon_is_told_at_once(daemon, jobs):
    daemon.stop()
    with pytest.raises(DaemonUnavailable, match="jobd run"):
        jobs.ping()


def test_wait_returns_the_handle_whose_result_is_the_callable_s(daemon, final):
    daemon.on("submit", STORED)
    daemon.on("wait", {"jobs": [final(result={"n": 1})], "timed_out": False})
    with Client() as jobs:
        job = jobs.submit("app.jobs:SendWelcomeEmail", kwargs={"user_id": 123})
        assert job.wait(timeout=30) is job
        assert job.result == {"n": 1}
    _, (_, waited) = daemon.asked(), daemon.asked()
    assert waited["ids"] == [JOB] and 29 < waited["timeout"] <= 30


def test_wait_raises_timeout_error_when_the_job_has_not_ended(daemon, final, jobs):
    daemon.on("wait", {"jobs": [final(status="running")], "timed_out": True})
    with pytest.raises(TimeoutError, match=r"still running after 0\.1 s"):
        jobs.job(JOB).wait(timeout=0.1)


def test_wait_is_a_timeout_error_too_when_the_daemon_is_frozen(daemon, scripted, monkeypatch, jobs):
    monkeypatch.setattr("jobd.client.connection.LATE_S", 0.1)
    daemon.on("wait", scripted.SILENCE)
    with pytest.raises(TimeoutError, match="does not answer"):
        jobs.job(JOB).wait(timeout=0.1)


def test_an_answer_may_be_late_and_where_none_was_promised_it_may_not():
    now = time.monotonic()
    assert LATE_S - 1 < seconds_left(now) <= LATE_S
    assert 0 < seconds_left(now - LATE_S) < 1, "0 is no wait for a socket"
    assert seconds_left(None) is None


def test_the_result_of_a_failed_job_is_job_failed_with_its_failure(daemon, final, jobs):
    failure = {"kind": "exception", "message": "ValueError: no", "traceback": "…"}
    daemon.on("wait", {"jobs": [final(status="failed", failure=failure)], "timed_out": False})
    job = jobs.job(JOB).wait()
    with pytest.raises(JobFailed, match="failed: ValueError: no") as failed:
        _ = job.result
    assert failed.value.failure == failure


def test_the_result_of_a_job_that_has_not_ended_is_job_failed(daemon, final, jobs):
    daemon.on("submit", STORED)
    daemon.on("status", final(status="running"))
    with pytest.raises(JobFailed, match="is running") as failed:
        _ = jobs.submit("app:f").result
    assert failed.value.failure is None


@pytest.mark.parametrize(
    "error", [Unauthorized("not listed"), NotFound("no such job"), Conflict("is final"),
              InvalidParams.of([("priority", "must be at most 10")])],
)  # fmt: skip
def test_a_refusal_is_raised_as_its_class_and_never_repeated(daemon, error, jobs):
    daemon.on("submit", error)
    with pytest.raises(type(error), match=str(error)) as refused:
        jobs.submit("app:f")
    assert isinstance(refused.value, JobdError)
    assert refused.value.data == error.data
    assert len(daemon.all_asked()) == 1


def test_a_connection_is_used_again_also_after_a_refusal(daemon):
    daemon.on("status", NotFound("no such job"), {"id": JOB})
    with Client() as jobs:
        with pytest.raises(NotFound):
            jobs.status(JOB)
        jobs.status(JOB)
        jobs.ping()
    assert daemon.connections == 1


def test_a_lost_submission_is_made_again_under_the_same_request_id(daemon, scripted, jobs):
    daemon.on("submit", scripted.DROP, STORED)
    assert jobs.submit("app:f").id == JOB
    (_, first), (_, second) = daemon.asked(), daemon.asked()
    assert first == second and first["request_id"]


def test_a_submission_that_came_while_the_daemon_stopped_is_made_again(daemon, jobs):
    daemon.on("submit", Draining("stopping"), STORED)
    assert jobs.submit("app:f").id == JOB
    (_, first), (_, second) = daemon.asked(), daemon.asked()
    assert first == second


def test_a_daemon_that_was_there_is_waited_for_while_it_is_started_again(daemon, jobs):
    daemon.on("submit", STORED)
    jobs.ping()
    daemon.stop()
    threading.Timer(0.2, daemon.start).start()
    assert jobs.submit("app:f").id == JOB


def test_a_daemon_that_stays_away_is_unavailable_in_the_end(daemon, scripted, short_patience, jobs):
    daemon.on("submit", scripted.DROP)
    with pytest.raises(DaemonUnavailable):
        jobs.submit("app:f")
    requests = [params["request_id"] for _, params in daemon.all_asked()]
    assert len(requests) > 2 and len(set(requests)) == 1


def test_a_wait_over_a_restart_ends_with_its_own_time(daemon, scripted, jobs):
    daemon.on("wait", scripted.DROP)
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        jobs.job(JOB).wait(timeout=0.3)
    assert 0.2 < time.monotonic() - before < 5
    timeouts = [params["timeout"] for _, params in daemon.all_asked()]
    assert timeouts == sorted(timeouts, reverse=True) and len(timeouts) > 1


def test_a_cancel_whose_answer_was_lost_has_its_wish(daemon, scripted, jobs):
    daemon.on("cancel", scripted.DROP, Conflict("is cancelled"))
    daemon.on("status", {"id": JOB, "status": "cancelled"})
    assert jobs.cancel(JOB) == {"id": JOB, "status": "cancelled"}


def test_a_cancel_that_came_too_late_is_a_conflict_also_after_a_loss(daemon, scripted, jobs):
    daemon.on("cancel", scripted.DROP, Conflict("is completed"))
    daemon.on("status", {"id": JOB, "status": "completed"})
    with pytest.raises(Conflict):
        jobs.cancel(JOB)


def test_a_conflict_without_a_loss_is_a_conflict(daemon, jobs):
    daemon.on("cancel", Conflict("is cancelled"))
    with pytest.raises(Conflict):
        jobs.cancel(JOB)


def test_a_removal_and_a_retry_whose_answers_were_lost_have_their_wish(daemon, scripted, jobs):
    daemon.on("remove", scripted.DROP, NotFound("no such job"))
    jobs.remove(JOB)
    daemon.on("retry", scripted.DROP, Conflict("is running"))
    daemon.on("status", {"id": JOB, "status": "running"})
    assert jobs.retry(JOB)["status"] == "running"


def test_a_shutdown_is_never_repeated(daemon, scripted, jobs):
    daemon.on("shutdown", scripted.DROP)
    jobs.shutdown()
    assert [method for method, _ in daemon.all_asked()] == ["shutdown"]


def test_threads_share_a_client_without_waiting_for_each_other(daemon, scripted, jobs):
    release = threading.Event()
    daemon.on("wait", lambda params, say: release.wait(5) and {"jobs": [], "timed_out": False})
    waiting = threading.Thread(target=jobs.wait, args=([JOB],))
    waiting.start()
    daemon.asked()
    assert jobs.ping() == {}
    release.set()
    waiting.join(5)
    assert not waiting.is_alive()


def test_after_a_fork_the_parent_s_connection_is_left_alone(daemon, jobs):
    jobs.ping()
    pid = os.fork()
    if pid == 0:
        try:
            jobs.ping()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    jobs.ping()
    assert daemon.connections == 2


def test_submit_many_is_one_request(daemon, jobs):
    daemon.on("submit_many", {"jobs": [STORED, {**STORED, "id": "b" * 16, "duplicate": True}]})
    first, second = jobs.submit_many([{"target": "app:f"}, {"command": ["/bin/true"]}])
    assert (first.id, second.id, second.duplicate) == (JOB, "b" * 16, True)
    _, params = daemon.asked()
    assert [job.get("target") for job in params["jobs"]] == ["app:f", None]
    assert all(job["request_id"] for job in params["jobs"])


def test_list_goes_through_all_pages_also_empty_ones(daemon, jobs):
    daemon.on(
        "list", {"jobs": [{"id": "1"}], "cursor": "x"}, {"jobs": [], "cursor": "y"},
        {"jobs": [{"id": "2"}], "cursor": None},
    )  # fmt: skip
    assert [job["id"] for job in jobs.list(status="failed")] == ["1", "2"]
    assert [params.get("cursor") for _, params in daemon.all_asked()] == [None, "x", "y"]


def test_events_go_on_after_a_lost_connection_where_they_were(daemon, jobs, scripted):
    def tell_and_die(params, say):
        say("event", {"seq": 8})
        return scripted.DROP

    def confirm_then_tell(params, say):
        threading.Timer(0.05, say, ("event", {"seq": params["since"] + 1})).start()
        return {"subscription": 1, "seq": 8}

    daemon.on("events", {"subscription": 1, "seq": 7}, tell_and_die, confirm_then_tell)
    events = jobs.events(queue="mail")
    threading.Timer(0.1, daemon.restart).start()
    assert next(events)["seq"] == 8
    events.close()
    assert [params.get("since") for _, params in daemon.all_asked()] == [None, 7, 7]


def test_a_line_that_was_refused_unread_fails_the_call_that_sent_it(daemon, jobs, scripted):
    daemon.on("submit", scripted.Unread(InvalidRequest("too long")))
    with pytest.raises(InvalidRequest, match="too long"):
        jobs.submit("app:f")


def test_what_is_no_jobd_is_told_and_not_asked_again(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "other"))
    listener.listen()

    def answer():
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"220 smtp ready\r\n")
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with Client(str(tmp_path / "other")) as jobs, pytest.raises(PeerFault, match="no jobd"):
        jobs.ping()
    thread.join(5)
    listener.close()


def test_progress_of_a_running_job(daemon, jobs):
    assert jobs.progress(JOB, 0.4) is None
    assert daemon.asked() == ("progress", {"id": JOB, "fraction": 0.4})
    jobs.progress(JOB, 0, "page 2 of 5")
    assert daemon.asked()[1] == {"id": JOB, "fraction": 0, "message": "page 2 of 5"}
