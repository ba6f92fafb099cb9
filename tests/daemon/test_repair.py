"""A damaged journal: refused, explained, repaired; and the daemon serves all that was whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from outside.installation import Installation
from outside.waiting import until

covers = pytest.mark.covers


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def segments(d):
    return sorted((d.state_dir / "journal").glob("*.jsonl"))


def flip(path, number, word):
    """In one line of the file, one byte; the answer: where the line begins."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert word in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(word, bytes([word[0] ^ 1]) + word[1:], 1)
    path.write_bytes(b"".join(lines))
    return sum(map(len, lines[: number - 1]))


SMALL = {"journal": {"segment_bytes": "64KiB"}}


@pytest.fixture(scope="module")
def written():
    """By a daemon that was stopped then: two segments of jobs."""
    d = Installation(SMALL)
    try:
        d.start()
        d.documents = {}
        while len(segments(d)) < 2:
            id = d.submit(command=["/bin/true", "x" * 10_000])
            d.documents[id] = d.final(id)
        d.waiting = d.submit(command=["/bin/true"], delay=3600)
        assert d.stop() == 0
        until(lambda: not d.processes())
        yield d
    finally:
        d.close()


@pytest.fixture
def full(installation, written):
    """With its state directory."""
    d = installation(SMALL)
    ignored = shutil.ignore_patterns("*.sock")
    shutil.copytree(written.state_dir, d.state_dir, ignore=ignored)
    d.documents, d.waiting = written.documents, written.waiting
    return d


@covers("exit:jobd 100", "exit:jobd 0")
def test_a_damaged_journal_is_refused_explained_and_repaired(full):
    d = full
    damaged, config = segments(d)[0], ["--config", str(d.config_path)]
    line, submission = next(
        (n, json.loads(text))
        for n, text in enumerate(damaged.read_text().splitlines(), 1)
        if n > 5 and '"submitted"' in text
    )
    [lost] = {record["id"] for record in submission["records"]}
    offset = flip(damaged, line, b'"by"')
    before = contents(d.state_dir)

    refused = d.jobd("run", *config)
    assert refused.code == 100
    assert f"{damaged}:{line} (byte {offset})" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert contents(d.state_dir) == before

    explained = d.jobd("journal", "verify", "--json", *config)
    assert explained.code == 100
    [place] = explained.json["damage"]
    assert (place["path"], place["line"], place["offset"]) == (str(damaged), line, offset)
    assert (place["first_seq"], place["records"]) == (
        submission["seq"], len(submission["records"]),
    )  # fmt: skip
    assert [job["id"] for job in explained.json["lost_jobs"]] == [lost]
    assert explained.json["may_run_again"] == [], "what waits was told of after the damage"
    assert contents(d.state_dir) == before

    repaired = d.jobd("journal", "repair", *config)
    assert repaired.code == 0, repaired
    assert f"job {lost} is lost" in repaired.out
    [kept] = d.state_dir.glob("journal.damaged-*")
    assert str(kept) in repaired.out
    was = {path.name: content for path, content in before.items() if path.parent.name == "journal"}
    assert {path.name: content for path, content in contents(kept).items()} == was

    d.start()
    documents = {id: document for id, document in d.documents.items() if id != lost}
    assert {id: d.status(id) for id in documents} == documents
    assert d.status(d.waiting)["status"] == "pending"
    assert d.refusal("status", id=lost).code == -32002
    again = d.run(command=["/bin/true"])
    assert again["status"] == "completed"
    assert again["id"] not in d.documents


def test_what_runs_while_the_journal_is_damaged_and_repaired_keeps_its_outcome(jobd):
    d = jobd()
    gate = d.gate()
    done = d.run(command=["/bin/true"])
    d.call("drain")  # so that its start is a commit of its own
    id = d.sh('cat "$1"; exit 7', str(gate.path), retry_attempts=0)
    d.call("drain", off=True)
    pid = d.pid_of(id)
    other = d.submit(command=["/bin/true"], delay=3600)
    d.kill()
    [segment] = segments(d)
    lines = segment.read_bytes().splitlines()
    [start] = [n for n, line in enumerate(lines, 1) if b'"started"' in line and id.encode() in line]
    flip(segment, start, b'"started"')

    config = ["--config", str(d.config_path)]
    assert d.jobd("journal", "repair", *config).code == 0
    d.start()

    assert d.pid_of(id) == pid, "its start was lost, and it is not started again"
    gate.open()
    ended = d.final(id)
    assert (ended["status"], ended["attempt"], ended["failure"]["exit_code"]) == ("failed", 1, 7)
    assert d.status(done["id"]) == done
    assert d.status(other)["status"] == "pending"


def test_no_daemon_starts_where_a_repair_was_not_finished(full):
    d = full
    (d.state_dir / "journal").rename(d.state_dir / "journal.new")

    refused = d.jobd("run", "--config", str(d.config_path))

    assert refused.code == 100
    assert "jobd journal repair" in refused.err
    assert not Path(d.state_dir, "journal").exists()
    assert d.jobd("journal", "repair", "--config", str(d.config_path)).code == 0
    d.start()
    assert {id: d.status(id) for id in d.documents} == d.documents
