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
    assert (code, out) == (100, "")
    assert f"{path}:3 (byte " in err
    assert err.count("\n") == 1

    code, out, _ = tool(state, "verify", "--json")
    assert code == 100
    assert json.loads(out)["line"] == 3


@pytest.mark.parametrize("name", ["verify", "dump", "stats", "compact"])
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


def test_repair_says_that_it_comes_later(tool, state):
    code, _, err = tool(state, "repair")

    assert code == 100
    assert "later release" in err
