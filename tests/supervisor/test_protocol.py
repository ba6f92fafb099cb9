"""Messages in pieces."""

import pytest

from jobd.keeper.protocol import Garbled, Lines, encode


def test_messages_arrive_whole_however_they_were_cut():
    messages = [{"n": n, "text": "é\udcff\n" * n} for n in range(5)]
    stream = b"".join(map(encode, messages))
    for size in range(1, len(stream) + 1):
        lines, seen = Lines(), []
        for at in range(0, len(stream), size):
            seen += lines.feed(stream[at : at + size])
        assert seen == messages


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"{\n", b"\xff\n", b"3\n", b"[" * 100_000 + b"\n"]
)
def test_what_is_no_message_is_garbled(line):
    with pytest.raises(Garbled):
        Lines().feed(line)
