"""A job that asks whether it was told to stop, and ends itself."""

import signal
import sys

import pytest

BARE = sys._base_executable
ENV = {"JOBD_JOB_ID": "abc", "JOBD_ATTEMPT": "1"}

# `told()`: the signal, as the keeper would send it; handled before kill() returns.
TOLD = """
import atexit, os, signal, sys, threading
from jobd import Cancelled, current_job
def told(number=signal.SIGTERM): os.kill(os.getpid(), number)
"""


@pytest.fixture
def stopped(call):
    def run(code, *, python=BARE, **env):
        return call(f"{TOLD}def f():\n{code}", python=python, env={**ENV, **env})

    return run


@pytest.mark.parametrize("installed", [True, False])
def test_a_stop_becomes_an_exception_and_the_end_is_still_the_signals(stopped, installed):
    ran = stopped(
        """
 current_job.check_cancelled()
 try:
  told()
  print("goes on")
  current_job.check_cancelled()
  print("never")
 finally:
  print("cleans up")
""",
        python=sys.executable if installed else BARE,
    )
    assert ran == (-signal.SIGTERM, None, "goes on\ncleans up\n", "")


def test_in_every_python(call, python):
    source = (
        f"{TOLD}def f():\n current_job.check_cancelled(); told(); current_job.check_cancelled()"
    )
    assert call(source, python=python, env=ENV) == (-signal.SIGTERM, None, "", "")


def test_a_cancel_runs_what_any_end_runs(stopped):
    ran = stopped("""
 atexit.register(print, "atexit")
 threading.Thread(target=print, args=("thread",)).start()
 current_job.check_cancelled(); told(); sys.stdout.write("no newline ")
 current_job.check_cancelled()
""")
    assert ran.code == -signal.SIGTERM
    assert sorted(ran.stdout.split()) == ["atexit", "newline", "no", "thread"]


def test_it_passes_by_except_exception(stopped):
    ran = stopped("""
 current_job.check_cancelled(); told()
 try: current_job.check_cancelled()
 except Exception: print("swallowed")
""")
    assert (ran.code, ran.stdout) == (-signal.SIGTERM, "")


def test_a_job_that_catches_it_ends_as_it_likes(stopped):
    ran = stopped("""
 current_job.check_cancelled(); told()
 try: current_job.check_cancelled()
 except Cancelled as exc: return [str(exc), exc.signal]
""")
    assert ran[:2] == (0, {"ok": ["the job was told to stop", signal.SIGTERM]})


def test_the_jobs_own_stop_signal_is_heard(stopped):
    ran = stopped(
        " current_job.check_cancelled(); told(signal.SIGUSR1); current_job.check_cancelled()",
        JOBD_STOP_SIGNAL="SIGUSR1",
    )
    assert ran == (-signal.SIGUSR1, None, "", "")


def test_an_interrupt_raises_nothing_of_its_own(stopped):
    ran = stopped(
        """
 current_job.check_cancelled()
 told(signal.SIGINT)
 print("goes on")
 current_job.check_cancelled()
""",
        JOBD_STOP_SIGNAL="SIGINT",
    )
    assert ran == (-signal.SIGINT, None, "goes on\n", "")


def test_a_signal_that_no_process_can_hear_is_left_alone(stopped):
    ran = stopped(" current_job.check_cancelled()", JOBD_STOP_SIGNAL="SIGKILL")
    assert ran.result == {"ok": None}


def test_other_signals_do_what_they_did(stopped):
    ran = stopped(" current_job.check_cancelled(); told(signal.SIGUSR1)")
    assert ran.code == -signal.SIGUSR1


def test_without_asking_the_signal_ends_the_job(stopped):
    assert stopped(" told()").code == -signal.SIGTERM


def test_the_jobs_own_handler_is_called_too(stopped):
    ran = stopped("""
 signal.signal(signal.SIGTERM, lambda number, frame: print("mine", number))
 current_job.check_cancelled(); told()
 try: current_job.check_cancelled()
 except Cancelled: return "cancelled"
""")
    assert (ran.result, ran.stdout) == ({"ok": "cancelled"}, "mine 15\n")


def test_any_thread_may_ask_once_the_main_one_has(stopped):
    ran = stopped("""
 said = []
 def ask():
  try: current_job.check_cancelled()
  except BaseException as exc: said.append(f"{type(exc).__name__}: {exc}")
 def asked_by_a_thread():
  thread = threading.Thread(target=ask); thread.start(); thread.join()
 asked_by_a_thread()
 current_job.check_cancelled()
 asked_by_a_thread()
 told()
 asked_by_a_thread()
 return said
""")
    first, last = ran.result["ok"]
    assert first.startswith("RuntimeError: call current_job.check_cancelled() once in the main")
    assert last == "Cancelled: the job was told to stop"


def test_a_worker_that_the_job_forks_still_ends_by_the_signal(stopped):
    """As `multiprocessing.Pool.terminate` relies on."""
    ran = stopped("""
 current_job.check_cancelled()
 pid = os.fork()
 if not pid:
  told()
  os._exit(0)
 return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
""")
    assert ran.result == {"ok": -signal.SIGTERM}


def test_it_works_inside_a_running_loop(stopped):
    ran = stopped("""
 import asyncio
 async def work():
  current_job.check_cancelled(); told()
  await asyncio.sleep(0)
  current_job.check_cancelled()
 asyncio.run(work())
""")
    assert ran == (-signal.SIGTERM, None, "", "")


def test_one_that_the_job_made_itself_is_an_exception_like_any_other(stopped):
    told = stopped(" raise Cancelled('enough')").result["exception"]
    assert (told["type"], told["message"]) == ("jobd.Cancelled", "enough")


def test_outside_a_job_nobody_is_told_to_stop(call):
    ran = call(f"{TOLD}def f():\n current_job.check_cancelled(); told()", env={})
    assert ran.code == -signal.SIGTERM


def test_importing_costs_no_module_that_is_not_there_anyway(call):
    source = """
import sys
def f():
 before = set(sys.modules)
 from jobd import current_job, Retry, Fail, Cancelled
 return sorted(set(sys.modules) - before)
"""
    heavy = {"socket", "asyncio", "threading", "signal", "typing", "datetime", "jobd.client"}
    for python in (sys.executable, BARE):
        assert not heavy & set(call(source, python=python).result["ok"])
