"""How a callable ends: value, exception, exit, or none of them."""

import pytest


def test_a_function_returns_json(call, python):
    ran = call("def f(a, b=0): return {'sum': a + b}", "jobs:f", 1, kwargs={"b": 2}, python=python)
    assert ran == (0, {"ok": {"sum": 3}}, "", "")


def test_a_class_is_made_without_arguments_and_its_method_called(call):
    source = "class F:\n def __init__(self): self.n = 1\n def handle(self, x): return self.n + x"
    assert call(source, "jobs:F", 2, method="handle").result == {"ok": 3}


@pytest.mark.parametrize("kind", ["staticmethod", "classmethod"])
def test_static_and_class_methods_need_no_instance(call, kind):
    first = "cls, " if kind == "classmethod" else ""
    source = f"""
class Base:
    def __init__(self): raise AssertionError
    @{kind}
    def run({first}x): return x
class F(Base): pass
"""
    assert call(source, "jobs:F", 2, method="run").result == {"ok": 2}


def test_what_is_awaitable_is_awaited(call, python):
    source = """
import asyncio
class F:
    async def handle(self):
        await asyncio.sleep(0)
        return "done"
"""
    assert call(source, "jobs:F", method="handle", python=python).result == {"ok": "done"}


def test_an_exception_is_told_with_its_ancestry_and_without_our_frames(call, python):
    source = """
class Permanent(ValueError): pass
def f(): g()
def g(): raise Permanent("no such user")
"""
    ran = call(source, python=python)
    told = ran.result["exception"]
    assert (told["type"], told["message"]) == ("jobs.Permanent", "no such user")
    assert told["mro"][:3] == ["jobs.Permanent", "ValueError", "Exception"]
    assert told["traceback"].count("File ") == 2
    assert "/child/" not in told["traceback"]
    assert told["traceback"] == ran.stderr
    assert ran.code == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("x = 1", "module 'jobs' has no attribute 'f'"),
        ("def f(:", "invalid syntax"),
        ("def f(one): pass", "missing 1 required positional argument"),
        ("def f(): return object()", "the return value is no JSON"),
        ("def f(): return float('nan')", "the return value is no JSON"),
        ("def f(): return {1, 2}", "the return value is no JSON"),
        ("def f():\n x = []\n x.append(x)\n return x", "the return value is no JSON"),
        ("def f(): return '\\ud800'", "the return value is no JSON"),
        ("def f(): return 'x' * 65536", "more than 64 KiB"),
        ("def f():\n x = 0\n for _ in range(300): x = [x]\n return x", "nested more than 200"),
        ("async def f():\n yield 1", "the return value is no JSON"),
        ("f = 3", "'int' object is not callable"),
        ("def f(): raise KeyboardInterrupt", ""),
        ("def f(): raise BaseException('odd')", "odd"),
    ],
)
def test_what_goes_wrong_is_an_exception(call, source, says):
    ran = call(source)
    assert says in ran.result["exception"]["message"]
    assert ran.code == 1


def test_the_largest_result_is_64_kib(call):
    assert call("def f(): return 'x' * 65534").result == {"ok": "x" * 65534}


def test_an_exception_that_cannot_be_shown_is_still_told(call):
    ran = call("class E(Exception):\n def __str__(self): raise ValueError\ndef f(): raise E()")
    assert ran.result["exception"]["message"] == "<its __str__ raised ValueError>"


def test_long_messages_and_tracebacks_lose_their_middle(call):
    source = """
def f(n=400):
    if n: f(n - 1) if n % 2 else g(n - 1)
    raise ValueError("a" * 5000 + "z")
def g(n): f(n)
"""
    told = call(source).result["exception"]
    assert len(told["message"].encode()) <= 1024
    assert told["message"].startswith("aaa") and told["message"].endswith("z")
    assert "… cut …" in told["message"]
    assert len(told["traceback"].encode()) <= 16 * 1024


@pytest.mark.parametrize("code", ["", "0", "None"])
def test_a_clean_exit_completes_with_null(call, code):
    ran = call(f"import sys\ndef f(): sys.exit({code})")
    assert (ran.code, ran.result) == (0, {"ok": None})


def test_another_exit_is_an_exit(call):
    ran = call("import sys\ndef f(): sys.exit(3)")
    assert (ran.code, ran.result) == (3, None)


def test_an_exit_with_words_says_them(call):
    ran = call("import sys\ndef f(): sys.exit('the disk is full')")
    assert (ran.code, ran.result) == (1, {"exit": "the disk is full"})
    assert ran.stderr == "the disk is full\n"


def test_a_process_that_just_ends_leaves_no_result(call):
    assert call("import os\ndef f(): os._exit(0)") == (0, None, "", "")


def test_threads_are_joined_and_atexit_runs_before_the_end(call, python):
    source = """
import atexit, threading
def f():
    atexit.register(print, "atexit")
    threading.Thread(target=print, args=("thread",)).start()
"""
    ran = call(source, python=python)
    assert sorted(ran.stdout.split()) == ["atexit", "thread"]
    assert ran.result == {"ok": None}


def test_output_comes_line_by_line(call):
    ran = call("import os\ndef f():\n print('first')\n os._exit(3)")
    assert ran.stdout == "first\n"


def test_a_fork_that_comes_back_writes_no_second_result(call):
    source = """
import os
def f():
    pid = os.fork()
    if pid: os.waitpid(pid, 0)
    return pid and "parent"
"""
    assert call(source).result == {"ok": "parent"}


def test_closed_streams_lose_nothing(call):
    ran = call("import sys\ndef f():\n sys.stderr = None\n raise ValueError('told')")
    assert ran.result["exception"]["message"] == "told"


def test_a_function_is_no_class(call):
    told = call("def f(): pass", "jobs:f", method="handle").result["exception"]
    assert told["message"] == "jobs:f is no class, so it has no method handle"
