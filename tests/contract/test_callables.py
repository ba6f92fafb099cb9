"""How a callable ends, and what is kept of it."""

from __future__ import annotations

import pytest

covers = pytest.mark.covers


def fail(shared, target, *args, **fields):
    done = shared.run(target=target, args=list(args), **fields)
    assert done["status"] == "failed"
    assert done["result"] is None
    assert set(done["failure"]) == {"kind", "message", "exit_code", "signal", "traceback"}
    assert done["attempts"][-1]["outcome"] == done["failure"]["kind"]
    return done["failure"]


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "ü", [1, [2]], {"a": {"b": None}}, ""])
def test_its_return_value_is_the_result(shared, value):
    done = shared.run(target="jobs:give", args=[value])
    assert (done["status"], done["result"]) == ("completed", value)
    assert done["failure"] is None
    assert done["attempts"][0]["exit_code"] == 0


def test_an_async_function_is_awaited(shared):
    assert shared.run(target="jobs:coroutine", args=[7])["result"] == ["awaited", 7]


def test_a_result_may_have_64_kib_of_json_and_no_more(shared):
    # The quotes are two bytes of it.
    fits = shared.run(target="jobs:big", args=[64 * 1024 - 2])
    assert len(fits["result"]) == 64 * 1024 - 2
    failure = fail(shared, "jobs:big", 64 * 1024 - 1)
    assert "64 KiB" in failure["message"]


def test_what_is_no_json_is_an_exception(shared):
    failure = fail(shared, "jobs:unserialisable")
    assert failure["kind"] == "exception"
    assert "JSON" in failure["message"]


@pytest.mark.parametrize(
    "value", ["float('nan')", "float('inf')", "{1: 2, '1': 3}['1'] and {1, 2}"]
)
def test_numbers_that_json_lacks_are_an_exception(jobd_eval, value):
    assert jobd_eval(value)["failure"]["kind"] == "exception"


@pytest.fixture
def jobd_eval(shared):
    """Runs a function that returns what an expression says."""

    def run(expression):
        name = f"made{abs(hash(expression))}"
        path = shared.app / "jobs.py"
        path.write_text(path.read_text() + f"\ndef {name}():\n    return {expression}\n")
        return shared.run(target=f"jobs:{name}")

    return run


def test_an_exception_is_kept_with_type_message_and_traceback(shared):
    failure = fail(shared, "jobs:boom", "something broke")
    assert failure["kind"] == "exception"
    assert "Trouble" in failure["message"]
    assert "something broke" in failure["message"]
    assert "raise Trouble(message)" in failure["traceback"]
    assert "jobs.py" in failure["traceback"]
    assert failure["traceback"].rstrip().endswith("something broke")
    assert "site-packages" not in failure["traceback"]


def test_a_long_message_and_traceback_are_cut_in_the_middle(shared):
    failure = fail(shared, "jobs:deep", 400)
    assert len(failure["message"].encode()) <= 1024
    assert len(failure["traceback"].encode()) <= 16 * 1024
    assert failure["traceback"].startswith("Traceback")
    long = fail(shared, "jobs:boom", "begin " + "ü" * 5000 + " end")
    assert len(long["message"].encode()) <= 1024
    assert "begin" in long["message"]
    assert long["message"].endswith(" end")


@pytest.mark.parametrize(
    ("target", "says"),
    [("jobs:missing", "missing"), ("jobs:borrowed_not", "borrowed_not")],
)
def test_a_name_that_is_not_there_is_an_exception(shared, target, says):
    failure = fail(shared, target)
    assert failure["kind"] == "exception"
    assert says in failure["message"]


def test_an_import_error_is_an_exception(jobd):
    d = jobd({"allow": {"callables": {"nowhere.*": ["*"], "broken:*": ["*"]}}})
    d.module("import not_there_at_all\n", "broken")
    for target, says in (("nowhere.at:all", "nowhere"), ("broken:x", "not_there_at_all")):
        failure = fail(d, target)
        assert failure["kind"] == "exception"
        assert says in failure["message"]


def test_a_wrong_signature_is_an_exception(shared):
    failure = fail(shared, "jobs:nothing", 1, 2)
    assert failure["kind"] == "exception"
    assert "TypeError" in failure["message"]


@pytest.mark.parametrize("code", [None, 0])
def test_sys_exit_with_none_or_0_completes_with_null(shared, code):
    done = shared.run(target="jobs:leave", args=[code])
    assert (done["status"], done["result"]) == ("completed", None)


@pytest.mark.parametrize(
    ("code", "exit_code"), [(3, 3), ("a word", 1), (True, 1), (300, 300 % 256)]
)
def test_sys_exit_with_anything_else_is_an_exit(shared, code, exit_code):
    failure = fail(shared, "jobs:leave", code)
    assert (failure["kind"], failure["exit_code"]) == ("exit", exit_code)


@pytest.mark.parametrize("code", [0, 5])
def test_a_process_that_ends_without_an_outcome_failed_0_included(shared, code):
    failure = fail(shared, "jobs:vanish", code)
    assert (failure["kind"], failure["exit_code"], failure["signal"]) == ("exit", code, None)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_process_that_a_signal_ends_failed_with_its_name(shared, name):
    failure = fail(shared, "jobs:die", name)
    assert (failure["kind"], failure["signal"], failure["exit_code"]) == ("signal", name, None)


@pytest.mark.parametrize(("code", "status"), [(0, "completed"), (1, "failed"), (255, "failed")])
def test_a_command_ends_by_its_exit_code(shared, code, status):
    done = shared.final(shared.sh(f"exit {code}"))
    assert done["status"] == status
    assert done["attempts"][0]["exit_code"] == code
    if code:
        assert (done["failure"]["kind"], done["failure"]["exit_code"]) == ("exit", code)


def test_a_command_that_a_signal_ends_failed_with_its_name(shared):
    failure = shared.final(shared.sh("kill -USR1 $$"))["failure"]
    assert (failure["kind"], failure["signal"]) == ("signal", "SIGUSR1")


@pytest.mark.parametrize("what", ["missing", "text", "directory"])
def test_what_can_not_be_started_is_a_failure_to_spawn(shared, what):
    path = shared.scratch("program")
    if what == "text":
        path.write_text("#!/bin/sh\n")
    elif what == "directory":
        path.mkdir()
    done = shared.run(command=[str(path)])
    assert (done["status"], done["failure"]["kind"]) == ("failed", "spawn")
    assert str(path) in done["failure"]["message"]


def test_output_is_line_buffered(shared):
    done = shared.run(target="jobs:half_line")
    assert done["failure"]["signal"] == "SIGKILL"
    assert shared.out(done["id"]).startswith("a line\n"), "a whole line is never lost"


def test_threads_are_joined_and_atexit_runs_before_the_end(shared):
    done = shared.run(target="jobs:threads")
    assert done["status"] == "completed"
    assert shared.out(done["id"]) == "thread done\natexit ran\n"


def test_the_traceback_is_on_stderr_too(shared):
    done = shared.run(target="jobs:boom", args=["on stderr"])
    assert "on stderr" in shared.out(done["id"], "stderr")
    assert "Traceback" in shared.out(done["id"], "stderr")


def test_the_current_job_is_known_inside(shared):
    done = shared.run(target="jobs:inside", timeout=60)
    id, attempt, deadline = done["result"]
    assert (id, attempt) == (done["id"], 1)
    assert deadline is not None
    assert shared.run(target="jobs:inside")["result"][2] is None
