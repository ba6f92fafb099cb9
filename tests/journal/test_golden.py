"""A journal that an old jobd wrote means to this one what it meant then."""

from pathlib import Path

from jobd.core import ids, records
from jobd.core.job import (
    Ended,
    Failure,
    History,
    Limits,
    Policy,
    Progress,
    Running,
    Status,
)  # fmt: skip
from jobd.journal import forms
from jobd.journal.format import Header, decode, decode_header, encode

GOLDEN = Path(__file__).parent / "golden"
AT = 1763764800.5
ONE, TWO, THREE = (ids.whole("0123456789ab", n) for n in (1, 2, 3))

CALL = (
    '{"target":"app.jobs:SendWelcomeEmail","method":"handle",'
    '"kwargs":{"user_id":123,"name":"Jörg \\"J\\""},"tags":["a"]}'
).encode()
TRUE = b'{"command":["/bin/true"]}'
POLICY = Policy(
    queue="mail", priority=5, retry_attempts=2, retry_delay=10.0, backoff=(1.0, 2.5),
    retry_max_delay=60.0, retry_jitter=0.1, timeout=30.0, kill_grace=1.0, stop_signal="SIGINT",
    on_interrupt="fail", cwd="/tmp",
)  # fmt: skip
RAISED = Failure(kind="exception", message="ValueError: no\nsuch", traceback="Traceback …")
KILLED = Failure(kind="signal", message="killed by SIGKILL", signal="SIGKILL")
REFUSED = Failure(kind="unauthorized", message="not listed")
FIRST = Ended(
    attempt=1, pid=4711, started_at=AT, finished_at=AT + 1, outcome="exception", exit_code=1,
    cpu_time=0.25, max_rss=10485760, failure=RAISED,
)  # fmt: skip
SECOND = Ended(
    attempt=2, pid=None, started_at=AT, finished_at=AT + 2, outcome="signal", signal="SIGKILL"
)
DONE = Ended(attempt=1, pid=1, started_at=AT, finished_at=AT + 7, outcome="completed", exit_code=0)
BOOT = "c7d1b0f2-6a7c-4a58-9b2f-7ac2bbd6a1f4"

VERSION_1 = [
    records.Submitted(id=ONE, at=AT, by="uid:1000", call=CALL, policy=POLICY, run_at=AT + 1),
    records.Submitted(id=TWO, at=AT, by="uid:1000", call=CALL, policy=Policy(), run_at=AT + 2),
    records.Submitted(id=THREE, at=AT, by="uid:1000", call=TRUE, policy=Policy(), run_at=AT + 3),
    records.Started(id=ONE, at=AT, attempt=1, boot_id=BOOT, boot_at=12.75),
    records.Retried(id=ONE, at=AT + 1, ended=FIRST, run_at=AT + 2),
    records.NeverRan(id=TWO, at=AT, attempt=1),
    records.StopRequested(id=ONE, at=AT + 3, why="timeout", boot_at=42.0),
    records.KillRequested(id=ONE, at=AT + 4),
    records.Interrupted(id=ONE, at=AT + 5, ended=SECOND, run_at=AT + 6, counted=True),
    records.Completed(id=TWO, at=AT + 7, ended=DONE, result=b'{"ok":true}'),
    records.Failed(id=ONE, at=AT + 8, ended=SECOND, failure=KILLED),
    records.Failed(id=THREE, at=AT + 8, ended=None, failure=REFUSED),
    records.RetryRequested(id=ONE, at=AT + 9, run_at=AT + 10),
    records.Cancelled(id=ONE, at=AT + 11, ended=None),
    records.Cancelled(id=THREE, at=AT + 11, ended=SECOND),
    records.Removed(id=THREE, at=AT + 12),
    records.Kept(
        id=ONE, at=AT + 13, number=1, by="uid:1000", call=CALL, policy=POLICY, submitted_at=AT,
        run_at=AT + 10, status=Status.RUNNING, attempt=3, started_at=AT + 12, retries_left=1,
        interruptions=1,
        running=Running(
            number=3, started_at=AT + 12, boot_id="b", boot_at=50.5, stopping="cancelled",
            stop_boot_at=51.0, cancelled=True, killed=True,
        ),
        history=History(
            first=[FIRST], last=[SECOND], finished_at=AT + 11, result=b"[1]", failure=RAISED
        ),
    ),
    records.Kept(
        id=TWO, at=AT + 13, number=2, by="uid:0", call=TRUE, policy=Policy(), submitted_at=AT,
        run_at=AT, status=Status.PENDING, attempt=0, started_at=None, retries_left=3,
        interruptions=0, running=None, history=None,
    ),
]  # fmt: skip

WATCHED = Policy(
    idle_timeout=20.0, success_codes=(0, 3), no_retry_on=(2, "SIGSEGV", "app.errors:Permanent"),
    limits=Limits(memory=120 << 20, cpu_time=1.5, processes=8, open_files=64, nice=-5),
)  # fmt: skip
HALF = Progress(0.5, "500 of 1000")
GREEDY = Failure(kind="memory", message="more than 120 MiB", signal="SIGKILL")
BUSY = Failure(kind="cpu_time", message="more than 1.5 s", signal="SIGXCPU")
ATE = Ended(
    attempt=1, pid=4711, started_at=AT, finished_at=AT + 1, outcome="memory", signal="SIGKILL",
    failure=GREEDY, progress=HALF,
)  # fmt: skip
BURNT = Ended(
    attempt=2, pid=4712, started_at=AT, finished_at=AT + 2, outcome="cpu_time", signal="SIGXCPU",
    failure=BUSY, progress=Progress(1.0),
)  # fmt: skip

VERSION_2 = [
    records.Submitted(id=ONE, at=AT, by="uid:1000", call=TRUE, policy=WATCHED, run_at=AT),
    records.Submitted(
        id=TWO, at=AT, by="uid:1000", call=TRUE, policy=Policy(limits=Limits(nice=1)), run_at=AT
    ),
    records.Started(id=ONE, at=AT, attempt=1, boot_id=BOOT, boot_at=12.75),
    records.Retried(id=ONE, at=AT + 1, ended=ATE, run_at=AT + 2),
    records.StopRequested(id=ONE, at=AT + 3, why="idle", boot_at=42.0),
    records.Failed(id=ONE, at=AT + 4, ended=BURNT, failure=BUSY),
    records.Kept(
        id=ONE, at=AT + 13, number=1, by="uid:1000", call=TRUE, policy=WATCHED, submitted_at=AT,
        run_at=AT + 10, status=Status.RUNNING, attempt=3, started_at=AT + 12, retries_left=1,
        interruptions=0,
        running=Running(
            number=3, started_at=AT + 12, boot_id=BOOT, boot_at=50.5, stopping="idle",
            stop_boot_at=51.0,
        ),
        history=History(first=[ATE, BURNT], failure=BUSY),
    ),
]  # fmt: skip


def said_in(name):
    """The header and the records, which are still written as they stand there."""
    header, *lines = (GOLDEN / name).read_bytes().splitlines(keepends=True)
    said = []
    for line in lines:
        commit = decode(line)
        assert commit.seq == len(said) + 1
        assert encode(*commit) == line
        said += commit.records
    return decode_header(header), said


def test_a_journal_of_version_1_means_what_it_always_meant():
    """The file was written when version 1 was new, and never changes."""
    header, said = said_in("version-1.jsonl")
    assert header == Header(1, AT, version=1)
    assert said == VERSION_1
    assert {type(record) for record in said} == set(forms.TAGS)


def test_a_journal_of_version_2_means_what_it_always_meant():
    """The file was written when version 2 was new, and never changes."""
    header, said = said_in("version-2.jsonl")
    assert header == Header(1, AT, version=2)
    assert said == VERSION_2
