"""What the jobs of the campaign do: they write down that they began and ended, and hold a lock.

Run as a program for a command, imported for a callable.  Knows nothing of jobd but the two
variables in its environment.  Light on purpose: it is started thousands of times.
"""

import fcntl
import os
import signal
import sys
import time

FAREWELL_S = 60  # how long one goes on that is to be ended by somebody else


class Failed(Exception):
    """What a callable fails with."""


def call(ledger, token, shape, work_s, failing):
    """As a callable: fails while the attempt's number is at most `failing`."""
    attempt = perform(ledger, token, shape, work_s)
    if attempt <= failing:
        raise Failed("as it was to")
    return token


def main(ledger, token, shape, work_s, failing, code):  # noqa: PLR0917 a command line
    """As a command; the exit code."""
    attempt = perform(ledger, token, shape, float(work_s))
    return int(code) if attempt <= int(failing) else 0


def perform(ledger, token, shape, work_s):
    """One attempt, from its `start` to its `end`; its number."""
    id, attempt = os.environ["JOBD_JOB_ID"], int(os.environ["JOBD_ATTEMPT"])
    log = os.open(f"{ledger}/jobs.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(what):
        line = (
            f'{{"type":"{what}","id":"{id}","attempt":{attempt},"token":"{token}",'
            f'"pid":{os.getpid()},"t":{now():.6f}}}\n'
        )
        os.write(log, line.encode())  # one write: whole, or not there

    lock = os.open(f"{ledger}/locks/{id}", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("overlap")
    say("start")
    # Held until the last process of the tree is gone, also one that executes something else.
    os.set_inheritable(lock, True)
    _SHAPES[shape]()
    time.sleep(work_s)
    say("end")
    return attempt


def now():
    """By the one clock of all ledgers."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def plain():
    """Alone."""


def family():
    """Leaves behind a child that is deaf to SIGTERM, and one that has its own session."""
    if os.fork() == 0:
        linger(deaf=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            linger(deaf=True)
        os._exit(0)


def stranger():
    """Leaves behind another program in a session of its own."""
    sleep = ["/bin/sleep", str(FAREWELL_S)]
    os.posix_spawn(sleep[0], sleep, os.environ, setsid=True)


def hang():
    """Does not end by itself."""
    linger(deaf=False)


def stubborn():
    """Does not end by itself, nor when asked to, nor does its child."""
    if os.fork() == 0:
        os.setsid()
    linger(deaf=True)


def linger(deaf):
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + FAREWELL_S
    while time.monotonic() < end:
        time.sleep(1)
    os._exit(99)


_SHAPES = {each.__name__: each for each in (plain, family, stranger, hang, stubborn)}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
