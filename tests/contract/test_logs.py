"""What a job has written: pieces, tails, streams, and as it comes."""

from __future__ import annotations

import pytest
from outside.peer import Refused
from outside.waiting import until

covers = pytest.mark.covers

RESULT = {"attempt", "data", "offset", "eof", "skipped", "lossy"}


def wrote(shared, text, stream="stdout"):
    """The id of a job that wrote this text and ended."""
    redirect = ">&2" if stream == "stderr" else ""
    id = shared.sh(f'printf %s "$1" {redirect}', text)
    assert shared.final(id)["status"] == "completed"
    return id


@covers("method:logs", "param:logs.id", "param:logs.stream")
def test_logs_show_each_stream(shared):
    id = shared.sh("echo out; echo err >&2")
    shared.final(id)
    for stream, data in (("stdout", "out\n"), ("stderr", "err\n")):
        answer = shared.call("logs", id=id, stream=stream)
        assert answer == {
            "attempt": 1, "data": data, "offset": 4, "eof": True, "skipped": 0, "lossy": False,
        }  # fmt: skip
    both = shared.call("logs", id=id)
    assert set(both) == RESULT
    assert sorted(both["data"].splitlines()) == ["err", "out"]
    assert isinstance(both["offset"], str)
    assert both == shared.call("logs", id=id, stream="both")


@covers("param:logs.offset", "param:logs.limit")
def test_offsets_are_byte_positions(shared):
    id = wrote(shared, "0123456789")
    answer = shared.call("logs", id=id, stream="stdout", offset=3, limit=4)
    assert (answer["data"], answer["offset"], answer["eof"]) == ("3456", 7, False)
    rest = shared.call("logs", id=id, stream="stdout", offset=7)
    assert (rest["data"], rest["offset"], rest["eof"]) == ("789", 10, True)
    end = shared.call("logs", id=id, stream="stdout", offset=10)
    assert (end["data"], end["offset"], end["eof"]) == ("", 10, True)


@covers("param:logs.limit")
def test_pieces_never_split_a_character_and_add_up(shared):
    text = "aä€𝄞" * 30
    id = wrote(shared, text)
    data, offset = "", 0
    while True:
        piece = shared.call("logs", id=id, stream="stdout", offset=offset, limit=5)
        assert not piece["lossy"]
        data += piece["data"]
        assert len(piece["data"].encode()) <= 5
        assert piece["offset"] == len(data.encode())
        offset = piece["offset"]
        if piece["eof"]:
            break
    assert data == text


@covers("param:logs.offset")
def test_pieces_of_both_add_up_too(shared):
    id = shared.sh("for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done")
    shared.final(id)
    data, offset = "", 0
    for _ in range(100):
        piece = shared.call("logs", id=id, offset=offset, limit=7)
        data += piece["data"]
        offset = piece["offset"]
        if piece["eof"]:
            break
    lines = data.split()
    assert sorted(lines) == sorted(f"{s}{i}" for s in ("out", "err") for i in range(1, 10))
    assert [line for line in lines if line.startswith("out")] == [f"out{i}" for i in range(1, 10)]


@covers("param:logs.tail")
@pytest.mark.parametrize(
    ("tail", "data"), [(0, ""), (1, "c"), (2, "b\nc"), (3, "a\nb\nc"), (100, "a\nb\nc")]
)
def test_tail_is_the_last_lines(shared, tail, data):
    id = wrote(shared, "a\nb\nc")
    answer = shared.call("logs", id=id, stream="stdout", tail=tail)
    assert (answer["data"], answer["eof"], answer["offset"]) == (data, True, 5)
    assert shared.call("logs", id=id, tail=tail)["data"] == data
    with_newline = wrote(shared, "a\nb\nc\n")
    lines = (data + "\n") if data else ""
    assert shared.call("logs", id=with_newline, stream="stdout", tail=tail)["data"] == lines


def test_what_is_no_utf_8_is_replaced_and_said(shared):
    id = shared.sh(r"printf 'a\377b'")
    shared.final(id)
    answer = shared.call("logs", id=id, stream="stdout")
    assert (answer["data"], answer["lossy"], answer["offset"]) == ("a\ufffdb", True, 3)
    assert shared.call("logs", id=id)["lossy"] is True


def test_a_character_cut_by_the_end_is_lossy(shared):
    id = shared.sh(r"printf 'a\342\202'")
    shared.final(id)
    answer = shared.call("logs", id=id, stream="stdout")
    assert answer["lossy"] is True
    assert answer["eof"] is True
    assert answer["data"].startswith("a")


def test_of_a_running_job_there_is_what_it_has_written_so_far(shared):
    gate = shared.gate()
    id = shared.sh('echo early; cat "$1"; echo late', str(gate.path))
    until(lambda: shared.out(id) == "early\n")
    gate.open()
    shared.final(id)
    assert shared.out(id) == "early\nlate\n"


@covers("param:logs.attempt")
def test_an_attempt_that_there_is_not_is_not_found(shared):
    id = wrote(shared, "x")
    assert shared.call("logs", id=id, attempt=1, stream="stdout")["data"] == "x"
    assert shared.refusal("logs", id=id, attempt=2).code == -32002
    for attempt in (0, -1, True, "1"):
        assert shared.refusal("logs", id=id, attempt=attempt).code == -32602


def test_a_job_that_has_not_started_has_no_output_yet(shared):
    id = shared.submit(command=["/bin/true"], delay=3600)
    answer = shared.call("logs", id=id)
    assert (answer["data"], answer["skipped"]) == ("", 0)
    shared.call("cancel", id=id)
    assert shared.call("logs", id=id)["eof"] is True


@covers("param:logs.follow")
@pytest.mark.parametrize("stream", ["stdout", "both"])
def test_following_tells_as_it_comes_and_ends_with_the_job(shared, peer, stream):
    gate = shared.gate()
    id = shared.sh('echo one; cat "$1"; echo two', str(gate.path))
    asked = peer.send("logs", {"id": id, "stream": stream, "follow": True}, id="stream")
    told = ""
    while told != "one\n":
        note = peer.note()
        assert set(note) >= {"subscription", "id", "attempt", "stream", "data", "offset"}
        assert (note["subscription"], note["id"], note["attempt"]) == ("stream", id, 1)
        told += note["data"]
    assert not peer.answered(asked)
    gate.open()
    last = peer.answer(asked)
    assert set(last) == RESULT
    told += "".join(note["data"] for note in peer.notes_so_far())
    assert told + last["data"] == "one\ntwo\n"
    assert last["eof"] is True
    assert shared.status(id)["status"] == "completed"


@covers("param:logs.follow")
def test_following_goes_on_with_the_next_attempt(shared, peer):
    id = shared.sh("echo $JOBD_ATTEMPT; exit 1", retry_attempts=2, retry_delay=0.1)
    asked = peer.send("logs", {"id": id, "stream": "stdout", "follow": True})
    last = peer.answer(asked)
    told = "".join(note["data"] for note in peer.notes_so_far()) + last["data"]
    assert told == "1\n2\n3\n"
    assert last["attempt"] == 3


@covers("param:logs.follow", "param:logs.tail")
def test_following_an_ended_job_gives_all_of_it_at_once(shared, peer):
    id = wrote(shared, "a\nb\nc\n")
    asked = peer.send("logs", {"id": id, "stream": "stdout", "follow": True, "tail": 2})
    last = peer.answer(asked)
    told = "".join(note["data"] for note in peer.notes_so_far()) + last["data"]
    assert told == "b\nc\n"


@covers("method:unsubscribe", "param:unsubscribe.subscription")
def test_unsubscribing_ends_a_stream_of_logs(shared, peer):
    gate = shared.gate()
    id = shared.sh('echo one; cat "$1"', str(gate.path))
    asked = peer.send("logs", {"id": id, "follow": True})
    peer.note()
    assert peer.call("unsubscribe", subscription=asked) == {}
    assert peer.answer(asked)["attempt"] == 1
    gate.open()


def test_a_large_output_comes_whole(shared, peer):
    id = shared.sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    asked = peer.send("logs", {"id": id, "stream": "stdout", "follow": True})
    last = peer.answer(asked)
    told = "".join(note["data"] for note in peer.notes_so_far()) + last["data"]
    assert told == "".join(f"line {i}\n" for i in range(20000))


@covers("param:logs.stream", "param:logs.offset", "param:logs.limit", "param:logs.tail",
        "param:logs.follow")  # fmt: skip
@pytest.mark.parametrize(
    "params",
    [{"stream": "stdin"}, {"stream": None}, {"offset": -1}, {"offset": True}, {"offset": 1.5},
     {"offset": "nonsense"}, {"limit": 0}, {"limit": True}, {"tail": -1}, {"tail": True},
     {"follow": "yes"}, {"follow": 1}, {"colour": 1}],
)  # fmt: skip
def test_logs_refuse_what_they_do_not_know(shared, params):
    id = wrote(shared, "x")
    assert shared.refusal("logs", id=id, **params).code == -32602


@covers("config:output.total_max_bytes")
def test_beyond_total_max_bytes_the_oldest_output_goes(jobd):
    d = jobd({"output": {"total_max_bytes": "10KiB"}})
    ids = []
    for _ in range(4):
        ids.append(d.sh("head -c 4096 /dev/zero | tr '\\0' x"))
        d.final(ids[-1])

    def gone(id):
        try:
            return d.call("logs", id=id, stream="stdout")["data"] == ""
        except Refused as refused:
            assert refused.code == -32002
            return True

    until(lambda: gone(ids[0]) and gone(ids[1]))
    assert len(d.out(ids[3])) == 4096
    assert d.status(ids[0])["status"] == "completed", "the job itself is kept"


FLOOD = "echo first; yes abcdef | head -c 30000000; echo; echo last"
WROTE = 6 + 30_000_000 + 6  # bytes


def pieces(d, id, **params):
    """All answers, up to the end."""
    offset = 0
    while True:
        yield (piece := d.call("logs", id=id, offset=offset, **params))
        offset = piece["offset"]
        if piece["eof"]:
            return


def taken(d, id):
    """Bytes on the disk."""
    files = (d.log_dir / "output").glob(f"*/{id}/*")
    return sum(file.stat().st_blocks * 512 for file in files)


@pytest.fixture
def bounded(jobd):
    return jobd({"output": {"max_bytes": "1MiB"}})


@covers("config:output.max_bytes")
def test_beyond_max_bytes_head_and_tail_are_kept_and_the_job_goes_on(bounded):
    id = bounded.sh(FLOOD)
    document = bounded.final(id)
    assert (document["status"], document["failure"]) == ("completed", None)
    assert taken(bounded, id) < 2 << 20
    told = list(pieces(bounded, id, stream="stdout", limit=1 << 20))
    text = "".join(piece["data"] for piece in told)
    assert text.startswith("first\nabcdef\n")
    assert text.endswith("\nlast\n")
    assert 1 << 20 <= len(text) < (1 << 20) + 16384
    assert sum(piece["skipped"] for piece in told) == WROTE - len(text)
    assert told[-1]["offset"] == WROTE
    at = 0
    for piece in told:
        at += piece["skipped"] + len(piece["data"])
        assert at == piece["offset"], "offsets are positions in what the job wrote"
    assert bounded.call("logs", id=id, tail=1)["data"] == "last\n"
    assert bounded.call("logs", id=id, stream="stdout", offset=15_000_000)["skipped"] > 10_000_000


@covers("config:output.max_bytes")
def test_the_bound_is_kept_while_there_is_no_daemon(bounded):
    gate = bounded.gate()
    id = bounded.sh('cat "$1"; ' + FLOOD, str(gate.path))
    until(lambda: bounded.status(id)["status"] == "running")
    bounded.kill()
    gate.open()
    [path] = until(lambda: list((bounded.log_dir / "output").glob(f"*/{id}/1.stdout")))
    until(lambda: path.stat().st_size == WROTE)
    until(lambda: taken(bounded, id) < 2 << 20)
    bounded.start()
    assert bounded.final(id)["status"] == "completed"
    told = [piece["data"] for piece in pieces(bounded, id)]
    assert told[0].startswith("first\n")
    assert told[-1].endswith("\nlast\n")


@covers("config:output.max_bytes", "param:logs.follow")
@pytest.mark.parametrize("stream", ["stdout", "both"])
def test_a_follower_is_told_all_or_how_much_was_left_out(bounded, stream):
    with bounded.peer() as peer:
        gate = bounded.gate()
        id = bounded.sh('cat "$1"; ' + FLOOD, str(gate.path))
        asked = peer.send("logs", {"id": id, "stream": stream, "follow": True})
        until(lambda: bounded.status(id)["status"] == "running")
        gate.open()
        last = peer.answer(asked)
        told = [*peer.notes_so_far(), last]
    text = "".join(piece["data"] for piece in told)
    assert text.startswith("first\n")
    assert text.endswith("\nlast\n")
    assert len(text) + sum(piece["skipped"] for piece in told) == WROTE


@covers("config:output.max_bytes", "jobctl:logs", "jobctl:run")
def test_jobctl_says_what_was_left_out_beside_the_output(bounded):
    ran = bounded.jobctl("run", "--", "/bin/sh", "-c", f"{FLOOD}; exit 3")
    assert (ran.code, ran.out[-6:]) == (3, "\nlast\n")
    id = bounded.call("list")["jobs"][0]["id"]
    shown = bounded.jobctl("logs", id)
    assert shown.out.startswith("first\n")
    assert shown.out.endswith("\nlast\n")
    assert "bytes of the output are not kept" in shown.err
    by_json = bounded.jobctl("logs", id, "--stdout", "--json")
    assert by_json.err == ""
    assert len(by_json.json["data"]) + by_json.json["skipped"] == WROTE


@covers("param:logs.stream", "param:logs.tail")
def test_both_streams_are_shown_in_the_order_in_which_they_came(shared):
    gate = shared.gate()
    id = shared.sh('echo err >&2; cat "$1"; echo out', str(gate.path))
    until(lambda: shared.out(id, "stderr") == "err\n")
    gate.open()
    shared.final(id)
    assert shared.call("logs", id=id)["data"] == "err\nout\n"
    assert shared.call("logs", id=id, tail=1)["data"] == "out\n"


def test_a_job_that_truncates_its_own_output_is_shown_as_it_is_now(shared):
    id = shared.sh("echo old; : > /dev/stdout; echo new")
    assert shared.final(id)["status"] == "completed"
    assert shared.out(id) == "new\n"


def test_output_is_there_after_a_restart(jobd):
    d = jobd()
    id = d.final(d.sh("echo kept; echo also >&2"))["id"]
    before = d.call("logs", id=id)
    d.kill()
    d.start()
    assert d.call("logs", id=id) == before
