"""Code of a user's, as jobs find it in the module `jobs`."""

JOBS = """
import asyncio, atexit, json, os, signal, sys, threading, time
from os import system
from os.path import join as borrowed

def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}

def nothing():
    pass

def give(value):
    return value

def say(text="out", error="err"):
    print(text)
    print(error, file=sys.stderr)
    return None

class Trouble(ValueError):
    pass

def boom(message="boom"):
    raise Trouble(message)

def deep(n):
    if n:
        return deep(n - 1)
    raise Trouble("deep " * 1000)

def leave(code=None):
    sys.exit(code)

def vanish(code=0):
    os._exit(code)

def die(name="SIGKILL"):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(60)

def unserialisable():
    return object()

def big(size):
    return "x" * size

def wait_for(path):
    open(path).close()
    return "waited"

def facts():
    return {
        "argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "env": dict(os.environ),
        "executable": sys.executable, "flags": sys.flags.safe_path,
    }

def inside():
    from jobd import current_job
    return [current_job.id, current_job.attempt, current_job.deadline]

def report(fraction, message, path):
    from jobd import current_job
    current_job.progress(fraction, message)
    open(path).close()

def obey():
    from jobd import current_job
    current_job.check_cancelled()
    print("ready")
    try:
        while True:
            time.sleep(0.01)
            current_job.check_cancelled()
    except Exception:
        print("swallowed")
    finally:
        print("cleaned up")

def again(after, path):
    from jobd import Retry
    with open(path, "a") as file:
        file.write("x")
    raise Retry(after=after)

def hopeless(message):
    from jobd import Fail
    raise Fail(message)

def half_line():
    print("a line")
    print("half", end="")
    os.kill(os.getpid(), signal.SIGKILL)

def threads():
    def work():
        time.sleep(0.05)
        print("thread done", flush=True)
    threading.Thread(target=work).start()
    atexit.register(lambda: print("atexit ran", flush=True))

async def coroutine(x):
    await asyncio.sleep(0)
    return ["awaited", x]

def count(path, fail_below=0):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < fail_below:
        raise Trouble("not yet")
    return os.path.getsize(path)

class Mailer:
    def __init__(self):
        self.made = True

    def handle(self, *args, **kwargs):
        return ["handle", self.made, list(args), kwargs]

    def send(self, to):
        return ["send", to]

    async def slowly(self, to):
        return ["slowly", to]

    @staticmethod
    def fixed(x):
        return ["static", x]

    @classmethod
    def of(cls, x):
        return [cls.__name__, x]

    def _private(self):
        return "private"

class Needy:
    def __init__(self, argument):
        pass

    def handle(self):
        pass

def _hidden():
    return "hidden"
"""
