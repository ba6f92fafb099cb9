"""What a job tells of its progress, and what it costs the job."""

import decimal
import socket
import sys
import threading
import time

import pytest

from jobd import current_job
from jobd.errors import NotFound

BARE = sys._base_executable
ENV = {"JOBD_JOB_ID": "abc", "JOBD_ATTEMPT": "1"}


@pytest.fixture
def job(call, daemon):
    """Runs a job's code; what the daemon was asked meanwhile is returned too."""

    def run(code, *, python=BARE, path=None):
        source = f"import os, sys, threading, time\nfrom jobd import current_job\ndef f():\n{code}"
        ran = call(source, python=python, env={**ENV, "JOBD_SOCKET": path or daemon.path})
        asked = daemon.all_asked()
        assert {method for method, _ in asked} <= {"progress"}
        return ran, [params for _, params in asked]

    return run


def test_a_report_says_whose_it_is(job, python):
    ran, told = job(" current_job.progress(0.4, 'page 2 of 5 …')", python=python)
    assert ran == (0, {"ok": None}, "", "")
    assert told == [{"id": "abc", "fraction": 0.4, "message": "page 2 of 5 …"}]


def test_short_phases_are_all_told(job):
    _, told = job(" for n in range(4): current_job.progress(n / 4)")
    assert [params["fraction"] for params in told] == [0, 0.25, 0.5, 0.75]


def test_a_flood_is_thinned_and_its_last_one_told(job):
    ran, told = job("""
 begun = time.monotonic()
 for n in range(100_001): current_job.progress(n / 100_000, str(n))
 return time.monotonic() - begun
""")
    took_s = ran.result["ok"]
    fractions = [params["fraction"] for params in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(fractions) <= 5 + 10 * took_s + 2
    assert took_s < 5  # 50 µs each, of which it takes about 2


def test_threads_may_all_tell(job):
    ran, told = job("""
 def work(k):
  for n in range(500): current_job.progress(n / 1000, str(k))
 threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
 for each in threads: each.start()
 for each in threads: each.join()
 current_job.progress(1, "all")
""")
    assert ran.code == 0
    assert told[-1] == {"id": "abc", "fraction": 1, "message": "all"}
    assert len(told) < 60


def test_a_forked_worker_has_a_connection_of_its_own_and_repeats_nothing(job, daemon):
    """Raw, and back through the interpreter's own end: the parent's `atexit` runs there too."""
    ran, told = job("""
 for n in range(9): current_job.progress(0.1, str(n))
 if not os.fork():
  current_job.progress(0.2, "child")
  sys.exit()
 os.wait()
 current_job.progress(0.3, "parent")
""")
    assert ran.code == 0
    messages = [params["message"] for params in told]
    assert sorted(messages) == sorted(set(messages))
    assert set(messages) >= {"child", "parent"}
    assert daemon.connections == 2


def test_the_end_waits_until_the_last_one_was_taken(job, daemon):
    answered = []

    def slowly(params, say):
        threading.Event().wait(0.3)
        answered.append(params["fraction"])
        return {}

    daemon.on("progress", slowly)
    job(" current_job.progress(1)")
    assert answered == [1]


def test_a_daemon_that_was_replaced_is_told_the_rest(job, daemon, scripted):
    daemon.on("progress", scripted.DROP, {})
    _, told = job("""
 current_job.progress(0.1)
 time.sleep(0.2)
 current_job.progress(0.5)
""")
    assert [params["fraction"] for params in told] == [0.1, 0.5]
    assert daemon.connections == 2


def test_the_last_one_is_told_again_where_its_answer_was_lost(job, daemon, scripted):
    daemon.on("progress", scripted.DROP, {})
    _, told = job(" current_job.progress(1)")
    assert told == [{"id": "abc", "fraction": 1}] * 2


@pytest.mark.parametrize("more", ["", " current_job.progress(0.6)\n"])
def test_the_next_daemon_is_told_what_the_last_one_took(job, daemon, scripted, more):
    daemon.on("progress", scripted.FAREWELL, {})
    _, told = job(f"""
 import select
 current_job.progress(0.5)
 gone = select.poll()
 gone.register(type(current_job).progress.__globals__["_reports"]._link._socket, select.POLLRDHUP)
 assert gone.poll(5000)
{more}""")
    assert [params["fraction"] for params in told] == [0.5, 0.6 if more else 0.5]
    assert daemon.connections == 2


def test_a_refusal_is_no_concern_of_the_jobs(job, daemon):
    daemon.on("progress", NotFound("no such job"))
    ran, told = job(" current_job.progress(0.5)")
    assert (ran.code, ran.stderr, len(told)) == (0, "", 1)


def test_without_a_daemon_nothing_is_told_and_nobody_waits(job, tmp_path):
    begun = time.monotonic()
    for path in (str(tmp_path / "none"), str(tmp_path / ("x" * 200))):
        ran, told = job(" for n in range(100): current_job.progress(n / 100)", path=path)
        assert (ran[:2], ran.stderr, told) == ((0, {"ok": None}), "", [])
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("backlog", [0, 16])
def test_a_daemon_that_hangs_costs_the_job_a_moment_at_its_end(job, tmp_path, backlog):
    path = str(tmp_path / "hung")
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as other:
        hung.bind(path)
        hung.listen(backlog)
        if backlog == 0:
            other.connect(path)  # nobody else gets in
        begun = time.monotonic()
        ran, _ = job(
            """
 begun = time.monotonic()
 for n in range(300):
  current_job.progress(n / 300)
  time.sleep(0.005)
 return time.monotonic() - begun
""",
            path=path,
        )
        assert time.monotonic() - begun < 10
    assert (ran.code, ran.stderr) == (0, "")


def test_it_works_inside_a_running_loop(job):
    _, told = job("""
 import asyncio
 async def work():
  current_job.progress(0.5)
 asyncio.run(work())
""")
    assert [params["fraction"] for params in told] == [0.5]


def test_what_a_file_name_may_hold_fails_no_job(job):
    _, told = job(r"""
 current_job.progress(0, "x" * 300)
 current_job.progress(0.5, "a\udcff\x00")
""")
    assert [params["message"] for params in told] == ["x" * 254 + "…", "a?\x00"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((1.01,), ValueError), ((-0.1,), ValueError), ((float("nan"),), ValueError),
        (("0.5",), TypeError), ((True,), TypeError), ((None,), TypeError), ((1j,), TypeError),
        ((0.5, 3), TypeError), ((0.5, b"half"), TypeError),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_also_outside_a_job(arguments, error):
    with pytest.raises(error, match=r"fraction|message"):
        current_job.progress(*arguments)


def test_any_kind_of_number_is_one():
    for fraction in (0, 1, 0.5, decimal.Decimal("0.5")):
        current_job.progress(fraction)


def test_outside_a_job_nothing_is_told(call, daemon):
    code = "def f():\n from jobd import current_job\n current_job.progress(0.5, 'half')"
    assert call(code, env={"JOBD_SOCKET": daemon.path}).result == {"ok": None}
    assert daemon.connections == 0
