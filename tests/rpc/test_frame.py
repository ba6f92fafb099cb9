"""Lines, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.errors import PeerFault
from jobd.rpc.frame import Lines


def drained(lines):
    return list(iter(lines.next, None))


@given(
    st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b)),
    st.lists(st.integers(0, 400)),
)
def test_pieces_of_any_size_give_the_same_lines(texts, cuts):
    stream = b"".join(text + b"\n" for text in texts)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    lines, found = Lines(64), []
    for start, end in pairwise(edges):
        lines.feed(stream[start:end])
        found += drained(lines)
    shown = [text.removesuffix(b"\r") for text in texts]
    assert found == [text for text in shown if text.strip(b" \t\r")]


def test_a_line_ends_with_a_newline_or_with_both():
    lines = Lines(10)
    lines.feed(b"a\r\nb\n")
    assert drained(lines) == [b"a", b"b"]


def test_blank_lines_are_left_out():
    lines = Lines(10)
    lines.feed(b"\n\r\n  \na\n\n")
    assert drained(lines) == [b"a"]


def test_half_a_line_is_kept_until_the_rest_comes():
    lines = Lines(10)
    lines.feed(b"ab")
    assert lines.next() is None
    lines.feed(b"c\n")
    assert lines.next() == b"abc"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_may_have_as_many_bytes_as_the_limit_says(end):
    lines = Lines(10)
    for byte in b"x" * 10 + end:
        lines.feed(bytes([byte]))
        if line := lines.next():
            assert line == b"x" * 10


@pytest.mark.parametrize("piece", [b"x" * 11 + b"\n", b"x" * 12])
def test_a_longer_one_is_a_fault_whether_or_not_it_ends(piece):
    lines = Lines(10)
    lines.feed(piece)
    with pytest.raises(PeerFault, match="more than 10 bytes"):
        lines.next()


def test_half_lines_are_not_searched_again():
    """A megabyte that comes byte by byte costs no more than one that comes at once."""
    lines = Lines(1 << 20)
    for _ in range(200_000):
        lines.feed(b"x")
        assert lines.next() is None
