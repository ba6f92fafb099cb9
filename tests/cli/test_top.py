"""`jobctl top` without a live screen: what is asked, what it costs, how it is laid out."""

import asyncio
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from jobd.cli.top import rows
from jobd.cli.top.glance import Glance, Running, Watch
from jobd.cli.top.saying import Cleaner, last_line
from jobd.cli.top.usage import Cost, Usage

JOB = "a" * 16


@pytest.fixture
def running(daemon, document):
    """Makes the daemon tell of these running jobs."""

    def make(*jobs, pid=None, output="", waiting=0):
        documents = [
            document(**{
                "status": "running", "finished_at": None, "timeout": None,
                "attempts": [{"attempt": 1, "pid": pid}], **job,
            })
            for job in jobs
        ]  # fmt: skip
        daemon.on("stats", {
            "jobs": {"running": len(jobs), "pending": waiting}, "queues": {},
            "running": len(jobs), "max_running": 4, "held": None,
        })  # fmt: skip
        daemon.on("list", {"jobs": documents, "cursor": None})
        daemon.on("status", lambda params, _: next(d for d in documents if d["id"] == params["id"]))
        daemon.on("logs", lambda params, _: {
            "attempt": 1, "data": output if "tail" in params else "", "offset": "1.0",
            "eof": False, "skipped": 0, "lossy": False,
        })  # fmt: skip
        return documents

    return make


@pytest.fixture
def busy():
    """A job's process, which leads a session of its own, with a child in it that spins."""
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        "print(child.pid, flush=True); child.wait()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
    )
    process.child = int(process.stdout.readline())
    yield process
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


# Plain.


def test_in_a_pipe_it_is_one_look_and_whole(jobctl, running):
    running(
        {"label": "x" * 200, "progress": {"fraction": 0.4, "message": "page 2 of 5"}},
        {"id": "b" * 16, "label": "second", "timeout": 600, "stopping": "cancel"},
        output="one\n\x1b[1mtwo\x1b[0m\n", waiting=3,
    )  # fmt: skip
    code, out, err = jobctl("top")
    summary, heading, first, second = out.splitlines()
    assert (code, err) == (0, "")
    assert summary == "2 of 4 running, 3 waiting"
    assert heading.split() == ["ID", "JOB", "CPU", "MEMORY", "TIME", "DONE", "SAYS"]
    assert JOB in first and "x" * 200 in first
    assert first.endswith("40%   page 2 of 5 · two")
    assert "/10m00s" in second and second.endswith("stopping (cancel) · two")


def test_where_nothing_runs_it_says_so(jobctl, running):
    running()
    assert jobctl("top") == (0, "0 of 4 running, 0 waiting\n", "")


def test_json_is_the_daemons_answer(jobctl, running):
    documents = running({})
    code, out, _ = jobctl("top", "--json")
    assert (code, json.loads(out)) == (0, {"jobs": documents, "cursor": None})


def looked(daemon):
    async def look():
        watch = Watch(daemon.path)
        try:
            return await watch.look()
        finally:
            await watch.aclose()

    return asyncio.run(look())


def test_a_look_asks_once_what_runs_and_how_much(running, daemon):
    running({}, {"id": "b" * 16})
    looked(daemon)
    asked = [method for method, _ in daemon.all_asked()]
    assert (asked.count("list"), asked.count("stats")) == (1, 1)


def test_one_that_starts_between_two_questions_pushes_out_nobody(running, daemon):
    """Of two, counted as one, the first answer would show the newer alone."""
    running({}, {"id": "b" * 16})
    stats = daemon.script["stats"][0]
    daemon.on("stats", {**stats, "running": 1}, stats)
    assert [job.id for job in looked(daemon).jobs] == [JOB, "b" * 16]


@pytest.mark.parametrize("interval", ["0.1", "0", "-1", "soon"])
def test_an_interval_that_would_only_burn_is_refused(jobctl, daemon, interval):
    code, _, err = jobctl("top", f"--interval={interval}")
    assert code == 2 and "interval" in err


def test_without_a_daemon_nothing_is_drawn(jobctl, daemon):
    daemon.stop()
    code, out, _ = jobctl("top")
    assert (code, out) == (3, "")


def test_without_the_library_it_is_plain_and_says_what_is_missing(jobctl, running, monkeypatch):
    running({})
    monkeypatch.setattr("jobd.cli.top._is_live", lambda: True)
    monkeypatch.setitem(sys.modules, "textual", None)
    for name in [name for name in sys.modules if name.startswith(("textual.", "jobd.cli.top."))]:
        monkeypatch.delitem(sys.modules, name)
    code, out, err = jobctl("top")
    assert (code, JOB in out) == (0, True)
    assert "jobd[top]" in err


# What it costs.


def test_a_job_costs_what_its_whole_tree_does(busy):
    usage = Usage()
    first = usage.look([busy.pid])[busy.pid]
    assert first.cpu is None
    assert first.memory > 8 * 2**20  # two interpreters
    limit = time.monotonic() + 20
    while (usage.look([busy.pid])[busy.pid].cpu or 0) < 0.05:
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_what_left_the_tree_and_not_the_session_is_counted(tmp_path):
    """A double fork: its parent is no longer the job."""
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        " if os.fork() == 0:\n"
        "  block = bytearray(64 << 20)\n"
        "  print('up', flush=True); time.sleep(60)\n"
        " os._exit(0)\n"
        "os.wait(); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"up\n"
        assert Usage().look([process.pid])[process.pid].memory > 64 << 20
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()


def test_what_is_gone_or_no_jobs_any_longer_can_not_be_seen(busy):
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    assert Usage().look([gone.pid, busy.child]) == {}


# Lines.


def job(**changes):
    told = {
        "id": JOB, "what": "app:f", "cost": Cost(0.5, 120 << 20), "elapsed_s": 185,
        "timeout_s": 600, "fraction": 0.45, "message": "", "stopping": "", "line": "",
    }  # fmt: skip
    return Running(**{**told, **changes})


def test_a_job_takes_two_lines():
    assert rows.lines([job(message="page 3 of 9", line="sending")], 80) == [
        f"{'ID':<18}{'JOB':<28}CPU     MEMORY          TIME  DONE",
        f"{JOB}  {'app:f':<28}50%  120.0 MiB  3m05s/10m00s   45%",
        f"  {'page 3 of 9 · sending':<78}",
    ]


@pytest.mark.parametrize(
    ("cost", "cpu", "memory"),
    [(None, "-", "-"), (Cost(None, 1024), "-", "1.0 KiB"), (Cost(2.5, 0), "250%", "0 B")],
)
def test_what_can_not_be_seen_is_a_dash(cost, cpu, memory):
    assert rows.cells(job(cost=cost))[2:4] == (cpu, memory)


@pytest.mark.parametrize(
    ("fraction", "text"), [(None, ""), (0, "0%"), (0.999, "99%"), (1, "100%"), (0.29, "29%")]
)
def test_all_is_done_when_all_is_done(fraction, text):
    assert rows.cells(job(fraction=fraction))[-1] == text


@pytest.mark.parametrize(
    ("elapsed", "timeout", "text"),
    [(0.2, None, "0s"), (59.4, None, "59s"), (59.7, 60, "1m00s/1m00s"), (7200, None, "2h00m")],
)
def test_time_is_told_in_whole_seconds(elapsed, timeout, text):
    assert rows.cells(job(elapsed_s=elapsed, timeout_s=timeout))[4] == text


def test_why_nothing_is_started_is_told():
    told = rows.summary(Glance([job()], 3, 4, 9, "no room"))
    assert told == "3 of 4 running, 9 waiting, 1 shown; nothing is started: no room"


@given(
    st.text("ab漢字é🙂e\u0301", max_size=60), st.text("xy語", max_size=120), st.integers(24, 140)
)
def test_no_line_is_wider_than_the_terminal(what, line, width):
    drawn = rows.lines([job(what=what, line=line), job(id="b" * 16)], width)
    assert len(drawn) == 5
    assert {cell_len(each) for each in drawn} == {width}


# What a job says.


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("one\ntwo\n\n  \n", "two"),
        ("done\r\n", "done"),
        ("\r 10%\r 20%\r 30%", "30%"),
        ("\x1b[31;1mred\x1b[0m \x1b]0;title\x07here\x1b[K\n", "red here"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Bplain\x1bM", "plain"),
        ("a\tb", "a       b"),
        ("b\x08bo\x08old", "bold"),
        ("bell\x07 nul\x00 \u202ertl", "bell\\x07 nul\\x00 \\u202ertl"),
        ("\x1b[", ""),
    ],
)
def test_the_last_line_is_what_a_reader_saw_last(output, line):
    assert last_line(output) in (line, line or "\\x1b[")


@given(st.text("a\n\r\t\x08\x1b[]m;1漢\x07\\", max_size=40), st.data())
def test_nothing_that_a_terminal_would_obey_comes_through(output, data):
    at = data.draw(st.integers(0, len(output)))
    cleaner = Cleaner()
    shown = cleaner.text(output[:at]) + cleaner.text(output[at:])
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.parametrize("at", range(12))
def test_a_sequence_may_come_in_pieces(at):
    output = "a\x1b[31mb\r\nc\x1b]0;t\x07d"
    cleaner = Cleaner()
    assert cleaner.text(output[:at]) + cleaner.text(output[at:]) == "ab\ncd"
