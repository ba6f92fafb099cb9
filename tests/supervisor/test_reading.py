"""The reader of outputs against a model: each byte once and in order, or counted as skipped."""

import os
import sys
import tempfile
from contextlib import closing, contextmanager
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd import linux
from jobd.keeper.order import Order
from jobd.supervisor import reading
from jobd.supervisor.reading import Reader, whole_characters

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="holes are made as on Linux")

BLOCK = 4096
ALPHABETS = ("aé€😀\n", "zßﬀ🙃\r")  # so that each character tells its stream
MANY = settings(max_examples=80, deadline=None)
READS_MAX = 400

# Long ones have blocks to be punched; short ones are read byte by byte.
text = st.tuples(st.integers(0, 4), st.integers(1, 8) | st.integers(1, 3000), st.integers(0, 3))
writes = st.lists(st.tuples(st.integers(0, 1), text), max_size=12)
holes = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(1, 6)), max_size=5
)  # fmt: skip


class Job:
    """Two files, what was written into them, and what is no longer there."""

    def __init__(self, directory):
        self.paths = [f"{directory}/1.stdout", f"{directory}/1.stderr"]
        self.order_path = f"{directory}/1.order"
        self.order = Order(self.order_path)
        self.files = [open(path, "ab", buffering=0) for path in self.paths]  # noqa: SIM115
        self.wrote = [b"", b""]
        self.gone = [set(), set()]
        self.told = ""
        self.turn = None

    def close(self):
        for file in self.files:
            file.close()

    def write(self, stream, content, *, looked=True):
        if looked and self.turn not in (None, stream):
            self.order.append(self.turn, len(self.wrote[self.turn]))
        if looked:
            self.turn = stream
        self.files[stream].write(content)
        self.wrote[stream] += content
        self.told += content.decode("utf-8", "replace")

    def punch(self, stream, first, count):
        last = len(self.wrote[stream]) // BLOCK  # as the keeper: never at the end
        blocks = range(first, min(first + count, last))
        if blocks:
            linux.punch_hole(self.files[stream].fileno(), first * BLOCK, len(blocks) * BLOCK)
            for block in blocks:
                self.gone[stream].update(range(block * BLOCK, (block + 1) * BLOCK))

    def limit(self, wanted):
        """That many bytes at a time, unless it would take very many reads to the end."""
        return max(wanted, sum(map(len, self.wrote)) // READS_MAX)

    def reader(self, stream=None, **how):
        if stream is None:
            return Reader(self.paths, self.order_path, **how)
        return Reader([self.paths[stream]], **how)

    def pieces(self, stream=None, limit=10_000, at=None, **how):
        at = at or [0] * (2 if stream is None else 1)
        while True:
            with self.reader(stream, **how) as reader:
                piece = reader.read(at, limit)
            yield piece
            if piece.eof:
                return
            assert piece.at != at, "it comes nearer to the end"
            at = piece.at


@pytest.fixture
def job(tmp_path):
    job = Job(tmp_path)
    yield job
    job.close()


@contextmanager
def played(writes=(), holes=()):
    with tempfile.TemporaryDirectory() as directory, closing(Job(directory)) as job:
        _play(job, writes, holes)
        yield job


def _play(job, writes, holes):
    for stream, (letter, times, rest) in writes:
        content = (ALPHABETS[stream][letter] * times).encode()
        job.write(stream, content + ALPHABETS[stream][rest].encode())
    for hole in holes:
        job.punch(*hole)


@MANY
@given(writes, holes, st.integers(1, 20_000))
def test_each_byte_of_a_stream_is_read_once_or_counted(writes, holes, limit):
    with played(writes, holes) as job:
        limit = job.limit(limit)
        for stream in (0, 1):
            at = 0
            for piece in job.pieces(stream, limit, over=True):
                content = piece.text.encode()
                [end] = piece.at
                begin = end - len(content)
                assert not piece.lossy, "what a hole has cut is no rubbish"
                assert at + piece.skipped == begin
                assert job.wrote[stream][begin:end] == content
                assert not job.gone[stream] & set(range(begin, end))
                there = [n for n in range(at, begin) if n not in job.gone[stream]]
                # Of each hole's two edges there may be half a character.
                cuts = sum(n + 1 in job.gone[stream] or n - 1 in job.gone[stream] for n in there)
                assert len(there) <= 3 * cuts
                assert len(content) <= max(limit, 4)
                at = end
            assert at == len(job.wrote[stream])


@MANY
@given(writes, holes, st.integers(1, 20_000))
def test_both_streams_together_are_each_of_them(writes, holes, limit):
    with played(writes, holes) as job:
        limit = job.limit(limit)
        both = list(job.pieces(None, limit, over=True))
        told = "".join(piece.text for piece in both)
        skipped = 0
        for stream in (0, 1):
            alone = list(job.pieces(stream, limit, over=True))
            skipped += sum(piece.skipped for piece in alone)
            mine = "".join(c for c in told if c in ALPHABETS[stream])
            assert mine == "".join(piece.text for piece in alone)
        assert sum(piece.skipped for piece in both) == skipped
        assert not any(piece.lossy for piece in both)
        if not holes:
            assert told == job.told, "in the order in which they grew"


@MANY
@given(
    writes,
    holes,
    st.binary(max_size=64) | st.lists(st.integers(0, 2**64 - 1)),
    st.integers(1, 9000),
)
def test_whatever_the_order_says_each_byte_is_told_once(writes, holes, said, limit):
    with played(writes, holes) as job:
        limit = job.limit(limit)
        with open(job.order_path, "wb") as file:
            file.write(said if isinstance(said, bytes) else b"".join(
                number.to_bytes(8, "little") for number in said
            ))  # fmt: skip
        told = "".join(piece.text for piece in job.pieces(None, limit, over=True))
        for stream in (0, 1):
            alone = "".join(piece.text for piece in job.pieces(stream, limit, over=True))
            assert "".join(c for c in told if c in ALPHABETS[stream]) == alone


@MANY
@given(writes, holes, st.integers(0, 8))
def test_the_tail_is_the_last_lines_of_what_is_told(writes, holes, lines):
    with played(writes, holes) as job:
        for stream in (0, None):
            # A hole ends a line, and begins one.
            pieces = list(job.pieces(stream, 1 << 20, over=True))
            told = "".join(piece.text for piece in pieces)
            parts = ["\0" * bool(p.skipped) + p.text for p in pieces if p.text]
            ends = "".join(parts).replace("\n", "\n\0").split("\0")
            wanted = "".join([line for line in ends if line][-lines:] if lines else [])
            with job.reader(stream, over=True) as reader:
                at = reader.tail(lines)
            tail = "".join(piece.text for piece in job.pieces(stream, at=at, over=True))
            assert told.endswith(tail)
            if stream == 0 or not holes:
                assert tail == wanted


@MANY
@given(writes, st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9000)), max_size=30), st.data())
def test_one_who_reads_while_it_grows_and_is_cut_misses_nothing(writes, reads, data):
    with played() as job:
        at, told, skipped = [0, 0], "", 0
        todo = [*(("write", *write) for write in writes), *(("read", *read) for read in reads)]
        for deed, stream, what in data.draw(st.permutations(todo)):
            if deed == "write":
                letter, times, rest = what
                content = ALPHABETS[stream][letter] * times + ALPHABETS[stream][rest]
                job.write(stream, content.encode(), looked=rest != 0)
                if rest == 3:
                    job.punch(stream, 1, times)
            else:
                with job.reader() as reader:
                    piece = reader.read(at, what)
                assert not piece.lossy
                told, skipped, at = told + piece.text, skipped + piece.skipped, piece.at
        for piece in job.pieces(None, at=at, over=True):
            told, skipped = told + piece.text, skipped + piece.skipped
        for stream in (0, 1):
            mine = "".join(c for c in told if c in ALPHABETS[stream]).encode()
            wrote = job.wrote[stream]
            kept = bytes(byte for n, byte in enumerate(wrote) if n not in job.gone[stream])
            assert len(kept) - 6 * len(writes) <= len(mine) <= len(wrote)
        assert skipped + len(told.encode()) == sum(map(len, job.wrote))


def test_a_turn_that_ends_in_the_middle_of_a_character_does_not_cut_it(job):
    first, second = "€".encode()[:1], "€".encode()[1:]
    job.write(0, b"a" + first)
    job.write(1, b"z\r")
    job.write(0, second + b"a")
    assert [(piece.text, piece.lossy) for piece in job.pieces()] == [("a€z\ra", False)]


def test_half_a_character_that_is_awaited_does_not_hold_back_the_other_stream(job):
    job.write(0, b"a\xe2\x82")
    job.write(1, b"z")
    [piece] = job.pieces()
    assert (piece.text, piece.eof) == ("az", True)
    job.write(0, b"\xac")
    with job.reader() as reader:
        assert reader.read(piece.at, 100).text == "€"


def test_a_stream_that_ends_in_a_hole_is_skipped_to_its_end(job):
    job.write(0, b"a\n")
    os.truncate(job.paths[0], 50 * BLOCK)
    assert [p.text.rstrip("\0") for p in job.pieces(0)] == ["a\n", ""]
    assert [*job.pieces(0)][-1].at == [50 * BLOCK]


def test_what_was_truncated_is_read_again_by_who_has_read_it(job):
    job.write(0, b"a" * 100)
    os.truncate(job.paths[0], 0)
    job.files[0].write(b"new\n")
    with job.reader(0) as reader:
        assert reader.read([100], 10).at == [4]
        assert reader.read([100], 10, again=True).text == "new\n"


def test_a_file_that_shrinks_under_the_reader_ends_there(job):
    job.write(0, b"a" * 100)
    with job.reader(0) as reader:
        os.truncate(job.paths[0], 10)
        piece = reader.read([0], 100)
        assert (piece.text, piece.at, piece.eof) == ("a" * 10, [10], True)


def test_a_hole_that_is_punched_during_the_read_is_not_shown_as_zeros(job, monkeypatch):
    job.write(0, b"a" * 10 * BLOCK)
    pread = reading._File._pread

    def punched_first(self, at, length):
        if length > 4:
            job.punch(0, 2, 5)
        return pread(self, at, length)

    monkeypatch.setattr(reading._File, "_pread", punched_first)
    pieces = list(job.pieces(0, 1 << 20))
    assert "".join(piece.text for piece in pieces) == "a" * 5 * BLOCK
    assert sum(piece.skipped for piece in pieces) == 5 * BLOCK


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)]
)
def test_what_is_no_file_of_ours_is_empty(tmp_path, make):
    path = str(tmp_path / "1.stdout")
    make(path)
    with Reader([path], path) as reader:
        assert reader.read([0], 100) == ("", [0], True, 0, False)


def test_a_small_order_of_many_turns_is_still_in_order(job):
    for number in range(20_000):
        job.write(number % 2, b"%s%d\n" % (b"az"[number % 2 : number % 2 + 1], number))
    assert os.path.getsize(job.order_path) <= 32 * 1024
    lines = "".join(piece.text for piece in job.pieces()).split()
    assert len(lines) == 20_000
    for letter in "az":
        mine = [int(line[1:]) for line in lines if line[0] == letter]
        assert mine == sorted(mine)
    # What was merged is near where it was, and the latest turns are as they were.
    numbers = [int(line[1:]) for line in lines]
    assert numbers[-100:] == list(range(19_900, 20_000))
    assert all(abs(a - b) <= 2048 for a, b in pairwise(numbers))


def test_half_a_character_is_found_at_the_end_only():
    assert [whole_characters(c) for c in (b"", b"a", b"a\xe2", b"\xe2\x82\xac", b"\x80" * 4)] == [
        0, 1, 1, 3, 4,
    ]  # fmt: skip
