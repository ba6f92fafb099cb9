"""The job logs, to the letter."""

from __future__ import annotations

import json
import os
import re
import time

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers

LINE = re.compile(
    r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\] jobd\.([A-Z]+): (.+?)(?:: (.+?))? (\{.*\})\Z"
)
JOBS, ERRORS = "background_jobs.log", "background_jobs_errors.log"


def parsed(line):
    """(level, what, subject, facts) of a line whose two times agree."""
    match = LINE.match(line)
    assert match, line
    at, level, what, subject, facts = match.groups()
    facts = json.loads(facts)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", facts["timestamp"])
    assert facts["timestamp"][:19] == at.replace(" ", "T")
    return level, what, subject, facts


def lines_of(d, id, name=JOBS):
    return [parsed(line) for line in d.log_of(id, name)]


def test_a_start_and_a_completion_read_exactly_so(shared):
    done = shared.run(target="jobs:Mailer", kwargs={"user_id": 123})
    id, started, finished = done["id"], done["started_at"], done["finished_at"]

    def line(what, status, at):
        day, clock = at[:10], at[11:19]
        return (
            f"[{day} {clock}] jobd.INFO: {what}: jobs:Mailer@handle "
            f'{{"id":"{id}","params":{{"user_id":123}},"status":"{status}","attempt":1,'
            f'"timestamp":"{at}"}}'
        )

    first, second = shared.log_of(id)
    assert first == line("Job started", "running", started)
    assert LINE.match(second)[3] == "Job completed"
    facts = json.loads(LINE.match(second)[5])
    assert list(facts) == ["id", "params", "status", "attempt", "timestamp"]
    assert abs(epoch(facts["timestamp"]) - epoch(finished)) < 1
    assert second == line("Job completed", "completed", facts["timestamp"])


def test_a_retry_a_failure_and_the_errors_log(shared):
    done = shared.run(target="jobs:boom", args=["broken"], retry_attempts=1, retry_delay=0)
    lines = lines_of(shared, done["id"])
    assert [
        (level, what, facts["status"], facts["attempt"]) for level, what, _, facts in lines
    ] == [
        ("INFO", "Job started", "running", 1),
        ("WARNING", "Job retrying", "pending_retry", 1),
        ("INFO", "Job started", "running", 2),
        ("ERROR", "Job failed", "failed", 2),
    ]
    assert all(subject == "jobs:boom" for _, _, subject, _ in lines)
    retrying, failed = lines[1][3], lines[3][3]
    assert "broken" in retrying["error"]
    assert "broken" in failed["error"]
    assert retrying["run_at"].endswith("Z")
    errors = lines_of(shared, done["id"], ERRORS)
    assert errors == [lines[3]], "failures and refusals only"


def test_a_cancellation(shared):
    id = shared.submit(command=["/bin/true"], delay=3600)
    shared.call("cancel", id=id)
    [(level, what, subject, facts)] = lines_of(shared, id)
    assert (what, subject, facts["status"], facts["attempt"]) == (
        "Job cancelled", "/bin/true", "cancelled", 0,
    )  # fmt: skip
    assert level in ("INFO", "WARNING")
    assert shared.log_of(id, ERRORS) == []


def test_a_refusal_is_in_both_logs(shared):
    name = f"forbidden{time.time_ns()}"
    shared.refusal("submit", target=f"os:{name}", args=["rm"])
    for log in (JOBS, ERRORS):
        [line] = [line for line in shared.log(log) if name in line]
        level, what, subject, facts = parsed(line)
        assert (level, what) == ("ERROR", "Unauthorized job execution attempt")
        assert subject == f"os:{name}"
        assert facts["status"] == "unauthorized"
        assert facts["params"] == ["rm"]


@pytest.mark.parametrize(
    ("fields", "subject", "params"),
    [
        ({"target": "jobs:echo", "args": [1], "kwargs": {"a": 2}}, "jobs:echo",
         {"args": [1], "kwargs": {"a": 2}}),
        ({"target": "jobs:echo", "args": [1, "ü"]}, "jobs:echo", [1, "ü"]),
        ({"target": "jobs:echo", "kwargs": {"a": 2}}, "jobs:echo", {"a": 2}),
        ({"target": "jobs.Mailer", "method": "fixed", "args": [1]}, "jobs:Mailer@fixed", [1]),
        ({"command": ["/bin/echo", "a", "b c"]}, "/bin/echo", ["a", "b c"]),
        ({"command": ["/no where/at all"]}, '"/no where/at all"', []),
    ],
)  # fmt: skip
def test_subject_and_params_of_each_kind(shared, fields, subject, params):
    done = shared.run(**fields)
    _, _, told, facts = lines_of(shared, done["id"])[0]
    assert told == subject
    assert facts["params"] == params


def test_a_call_without_arguments_has_empty_params(shared):
    done = shared.run(target="jobs:nothing")
    assert lines_of(shared, done["id"])[0][3]["params"] in ([], {})


def test_params_are_cut_at_2_kib(shared):
    done = shared.run(command=["/bin/true", "x" * 5000])
    line = shared.log_of(done["id"])[0]
    assert len(line.encode()) < 2048 + 400
    parsed(line)
    exact = shared.run(command=["/bin/true", "x" * 1900])
    assert "x" * 1900 in shared.log_of(exact["id"])[0]


def test_control_characters_are_escaped(shared):
    done = shared.run(target="jobs:boom", args=["line\nbreak\x1b[31m\x7f\u2028\x85end"])
    for name in (JOBS, ERRORS):
        content = (shared.log_dir / name).read_text()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", content)
    for line in shared.log_of(done["id"]):
        parsed(line)
    assert lines_of(shared, done["id"])[0][3]["params"] == ["line\nbreak\x1b[31m\x7f\u2028\x85end"]


@covers("config:logging.params")
def test_params_may_be_left_out(jobd):
    d = jobd({"logging": {"params": False}})
    done = d.run(command=["/bin/echo", "s3cret"])
    d.refusal("submit", target="os:system", args=["s3cret"])
    assert not any("s3cret" in line for name in (JOBS, ERRORS) for line in d.log(name))
    assert "params" not in lines_of(d, done["id"])[0][3]


@covers("config:logging.format")
def test_in_json_each_line_is_an_object(jobd):
    d = jobd({"logging": {"format": "json"}})
    done = d.run(target="jobs:boom", args=["b"])
    lines = [json.loads(line) for line in d.log(JOBS)]
    assert [line["status"] for line in lines] == ["running", "failed"]
    assert all(line["id"] == done["id"] and line["attempt"] == 1 for line in lines)
    assert all("timestamp" in line and "level" in line for line in lines)
    assert lines[1]["error"]
    assert lines[0]["params"] == ["b"]
    for line in d.log("jobd.log"):
        json.loads(line)


def test_refusals_of_one_peer_are_limited_to_10_a_second_then_counted(jobd):
    d = jobd()
    for n in range(60):
        d.refusal("submit", target=f"os:system{n}")

    def counted():
        lines = [line for line in d.log(ERRORS) if "Unauthorized" in line]
        single = [line for line in lines if re.search(r"os:system\d+", line)]
        numbers = [parsed(line)[3].get("count") for line in lines if line not in single]
        return (len(single), sum(number for number in numbers if number)) if numbers else None

    single, _ = until(lambda: (c := counted()) and sum(c) == 60 and c)
    assert 10 <= single <= 30


@covers("config:logging.rotate", "config:logging.keep", "config:logging.max_bytes")
@pytest.mark.parametrize(
    "settings", [{"rotate": "4KiB", "keep": 3}, {"max_bytes": 4096, "keep": 3}]
)
def test_a_log_is_rotated_at_its_size_and_so_many_are_kept(jobd, settings):
    d = jobd({"logging": settings})
    for n in range(30):
        d.run(command=["/bin/true", f"{n:0>400}"])
    rotated = sorted(p.name for p in d.log_dir.iterdir() if p.name.startswith(f"{JOBS}."))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    assert len(rotated) == 3
    assert all(re.fullmatch(rf"{re.escape(JOBS)}\.\d{{4}}-\d\d-\d\d(\.\d+)?", n) for n in rotated)
    assert any(day in name for name in rotated)
    for name in (JOBS, *rotated):
        assert os.path.getsize(d.log_dir / name) <= 4096 + 1024
        for line in d.log(name):
            parsed(line)
    newest = "".join(d.log(JOBS))
    assert f"{29:0>400}" in newest


@covers("config:logging.rotate")
def test_daily_rotation_puts_yesterdays_lines_aside(installation):
    d = installation({"logging": {"rotate": "daily"}})
    d.log_dir.mkdir()
    old = d.log_dir / JOBS
    old.write_text("of another day\n")
    os.utime(old, (1_700_000_000, 1_700_000_000))
    d.start()
    done = d.run(command=["/bin/true"])
    assert d.log(f"{JOBS}.2023-11-14") == ["of another day"]
    assert len(d.log_of(done["id"])) == 2


@covers("config:logging.level", "option:jobd run --log-level")
def test_the_level_is_that_of_the_daemons_own_log(installation):
    d = installation({"logging": {"level": "error"}})
    d.start()
    assert d.run(command=["/bin/true"])["id"] in "".join(d.log(JOBS))
    assert d.log("jobd.log") == []
    d.stop()
    d.start("--log-level", "info")
    assert any("started" in line for line in d.log("jobd.log"))


def test_the_daemons_own_log_has_a_line_of_the_same_form(shared):
    assert re.match(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] jobd\S*\.INFO: ", shared.log("jobd.log")[0]
    )


def test_a_log_that_can_not_be_written_does_not_stop_jobs(jobd):
    d = jobd()
    (d.log_dir / JOBS).unlink()
    (d.log_dir / JOBS).symlink_to("/dev/full")
    import signal

    d.process.send_signal(signal.SIGHUP)
    until(lambda: any("reloaded" in line for line in d.log("jobd.log")))
    assert d.run(command=["/bin/true"])["status"] == "completed"
