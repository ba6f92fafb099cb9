"""`jobd journal`: what the tools say, and that they change nothing but what they should."""

import json

import pytest

from jobd.cli import jobd
from jobd.core.engine import Engine
from jobd.core.rules import Rules

CALL = b'{"command":["/bin/true"],"env":{"TOKEN":"hunter2"}}'


@pytest.fixture
def tool(capsys, tmp_path):
    """Runs a tool; gives its exit code, its output and its errors."""
    config = tmp_path / "jobd.toml"
    config.touch()

    def run(state_dir, *words):
        places = ["--config", str(config), "--state-dir", str(state_dir)]
        code = jobd.main(["journal", *words, *places])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def state(state_dir, make, open_store):
    """A state directory with a job that is over and one that waits."""
    open_store(state_dir).close()
    directory = state_dir / "journal"
    (directory / f"{1:020d}.jsonl").unlink()
    make.segment(
        directory, 1, [make.submitted(1), make.submitted(2, call=CALL)], [make.started(1)],
    )  # fmt: skip
    make.segment(directory, 4, [make.completed(1, b'{"n":1}')])
    return state_dir


def test_verify_says_that_a_journal_is_sound(tool, state):
    code, out, _ = tool(state, "verify")
    assert code == 0
    assert "sound: 4 records in 3 commits, 2 segments" in out

    code, out, _ = tool(state, "verify", "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["sound"], said["records"], said["commits"], said["torn"]) == (True, 4, 3, None)


def test_verify_calls_a_torn_end_sound_and_leaves_it(tool, state):
    path = state / "journal" / f"{4:020d}.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"crc":"')
    before = path.read_bytes()

    code, out, _ = tool(state, "verify")

    assert code == 0
    assert "8 bytes are dropped at the next start" in out
    assert json.loads(tool(state, "verify", "--json")[1])["torn"]["bytes"] == 8
    assert path.read_bytes() == before


def test_verify_names_the_place_of_damage(tool, state):
    path = state / "journal" / f"{1:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b"started", b"stopped"))

    code, out, err = tool(state, "verify")
    assert code == 100
    assert f"{path}:3 (byte " in out
    assert f"{path}:3 (byte " in err
    assert err.count("\n") == 1

    code, out, _ = tool(state, "verify", "--json")
    assert code == 100
    assert json.loads(out)["line"] == 3


@pytest.mark.parametrize("name", ["verify", "dump", "stats", "compact", "repair"])
def test_no_tool_makes_a_journal_where_there_is_none(tool, state_dir, name):
    code, _, err = tool(state_dir, name)

    assert code == 100
    assert "there is no journal" in err
    assert not state_dir.exists()


def test_dump_prints_every_record_and_no_value_of_env(tool, state):
    code, out, _ = tool(state, "dump", "--json")
    said = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["seq"], one["type"]) for one in said] == [
        (1, "submitted"), (2, "submitted"), (3, "started"), (4, "completed"),
    ]  # fmt: skip
    assert said[1]["call"]["env"] == ["TOKEN"]

    for words in (["dump"], ["dump", "--json"]):
        out = tool(state, *words)[1]
        assert "TOKEN" in out
        assert "hunter2" not in out
        assert "hunter2" in tool(state, *words, "--secrets")[1]


def test_stats_counts_records_and_jobs(tool, state):
    said = json.loads(tool(state, "stats", "--json")[1])

    assert said["segments"] == 2
    assert said["records"] == {"submitted": 2, "started": 1, "completed": 1}
    assert (said["jobs"]["pending"], said["jobs"]["completed"]) == (1, 1)
    code, out, _ = tool(state, "stats")
    assert code == 0
    assert "pending" in out


def test_compact_keeps_every_job_and_drops_the_rest(tool, state, open_store):
    def memory():
        store = open_store(state, read=False)
        engine = Engine(Rules(max_running=1), boot_id="")
        for seq, records in store.recovered:
            engine.replay(seq, records)
        store.close()
        return {
            job.id: (job.number, job.call, job.status, job.attempt, job.history)
            for job in engine.jobs
        }

    before = memory()
    code, out, _ = tool(state, "compact", "--json")

    assert code == 0
    assert json.loads(out)["jobs"] == 2
    assert json.loads(out)["segments"] == 1
    assert memory() == before
    assert tool(state, "verify")[0] == 0
    assert "2 jobs kept" in tool(state, "compact")[1]
    assert memory() == before


def test_compact_is_refused_while_a_daemon_serves(tool, state, open_store):
    open_store(state)

    code, _, err = tool(state, "compact")

    assert code == 111
    assert "in use by" in err
    assert tool(state, "verify")[0] == 0  # reading is fine


@pytest.fixture
def damaged(state):
    """The start of the first job can't be read any more."""
    path = state / "journal" / f"{1:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"attempt"', b'"attempts'))
    return state


def test_verify_tells_every_damage_and_what_a_repair_would_lose(tool, damaged, make):
    second = damaged / "journal" / f"{4:020d}.jsonl"
    second.write_bytes(second.read_bytes().replace(b'"first_seq"', b'"first_sec"'))

    code, out, err = tool(damaged, "verify")

    assert code == 100
    first, header, summary = out.splitlines()
    assert f"{1:020d}.jsonl:3 (byte " in first
    assert "record 3 is lost" in first
    assert make.id(1) in first
    assert f"{second}:1 (byte 0)" in header
    assert "no record is lost" in header
    assert "jobs: 2 kept, 0 lost; records: 1 lost" in summary
    assert f"{1:020d}.jsonl:3 (byte " in err


def test_verify_tells_programs_the_same(tool, damaged, make):
    said = json.loads(tool(damaged, "verify", "--json")[1])

    assert (said["sound"], said["line"]) == (False, 3)
    [loss] = said["damage"]
    assert (loss["first_seq"], loss["records"], loss["ids"]) == (3, 1, [make.id(1)])
    assert (said["records_lost"], said["exact"], said["jobs"]) == (1, True, 2)
    assert said["may_run_again"] == [make.id(2)]
    assert said["lost_jobs"] == []


def test_repair_tells_what_is_lost_and_keeps_the_old_journal(tool, state, make):
    path = state / "journal" / f"{1:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"by"', b'"bi"'))
    before = path.read_bytes()

    code, out, err = tool(state, "repair")

    assert (code, err) == (0, "")
    loss, lost, hint, summary = out.splitlines()
    assert f"{path}:2 (byte " in loss
    assert "records 1 to 2 are lost" in loss
    assert f"job {make.id(1)} is lost" in lost
    assert "completed at 2025-" in lost
    assert make.id(2) in hint
    [kept] = state.glob("journal.damaged-*")
    assert str(kept) in summary
    assert (kept / path.name).read_bytes() == before
    assert tool(state, "verify")[0] == 0
    assert "nothing to repair" in tool(state, "repair")[1]


def test_repair_and_verify_show_nothing_of_what_jobs_were_given(tool, state):
    path = state / "journal" / f"{1:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"by"', b'"bi"'))

    for name in ("verify", "repair"):
        for words in ([], ["--json"]):
            _, out, err = tool(state, name, *words)
            assert "hunter2" not in out + err
            assert "TOKEN" not in out + err
            assert "app.jobs" not in out + err


def test_ids_are_bounded_for_people_and_complete_for_programs(tool, state_dir, make, open_store):
    open_store(state_dir).close()
    path = make.segment(
        state_dir / "journal", 1, *([make.submitted(n)] for n in range(1, 31)), [make.started(1)],
        [make.started(2)],
    )  # fmt: skip
    lines = path.read_bytes().splitlines(True)
    lines[-2] = lines[-2].replace(b"started", b"stopped")
    path.write_bytes(b"".join(lines))

    assert len(json.loads(tool(state_dir, "verify", "--json")[1])["may_run_again"]) == 29
    assert "and 21 more" in tool(state_dir, "verify")[1]


def test_repair_finishes_what_another_one_has_begun(tool, damaged):
    assert tool(damaged, "repair")[0] == 0
    (damaged / "journal").rename(damaged / "journal.new")

    for name in ("verify", "stats", "compact"):
        code, _, err = tool(damaged, name)
        assert code == 100
        assert "say `jobd journal repair`" in err
    code, out, _ = tool(damaged, "repair", "--json")

    assert (code, json.loads(out)["finished"]) == (0, True)
    assert tool(damaged, "verify")[0] == 0


def test_a_new_journal_that_is_damaged_itself_does_not_take_the_place(tool, damaged):
    assert tool(damaged, "repair")[0] == 0
    (damaged / "journal").rename(damaged / "journal.new")
    [path] = (damaged / "journal.new").iterdir()
    path.write_bytes(b"#" + path.read_bytes()[1:])

    code, _, err = tool(damaged, "repair")

    assert code == 100
    assert "journal.new is damaged too" in err
    assert not (damaged / "journal").exists()


def test_repair_is_refused_while_a_daemon_serves(tool, damaged, open_store):
    store = open_store(damaged, read=False)

    code, _, err = tool(damaged, "repair")

    assert code == 111
    assert "in use by" in err
    store.close()


def test_an_attempt_that_may_be_alive_is_left_running(tool, state_dir, make, open_store):
    open_store(state_dir).close()
    path = make.segment(
        state_dir / "journal", 1, [make.submitted(1)], [make.submitted(2)], [make.started(1)],
        [make.started(2)], [make.completed(1)], [make.submitted(6)],
    )  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"completed", b"cmopleted"))
    claim = state_dir / "attempts" / f"{make.id(2)}-1" / "claim"
    claim.parent.mkdir(parents=True)
    claim.touch()

    assert tool(state_dir, "repair")[0] == 0

    jobs = json.loads(tool(state_dir, "stats", "--json")[1])["jobs"]
    assert (jobs["running"], jobs["pending_retry"], jobs["pending"]) == (1, 1, 1)
