"""One commit, one line: `{"crc":"xxxxxxxx","seq":N,"records":[…]}` and a newline.

JSON, so that `tail -f` and `jq` work on a live journal.  The checksum is inside the object, so
that a line stays JSON; it covers all that follows it, the sequence number too, and is checked
without parsing.  Pure: bytes in, records out.  What a bad line means is `recovery`'s business.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from jobd.core.records import VERSION, Record
from jobd.journal import forms, kinds
from jobd.journal.kinds import BadLine

PREFIX: Final = b'{"crc":"'
HEADER_BYTES_MAX: Final = 200
_CHECKED_FROM: Final = len(b'{"crc":"xxxxxxxx",')


class Commit(NamedTuple):
    seq: int  # ordinal of the first record, over the journal's whole life, from 1
    records: list[Record]


class Header(NamedTuple):
    first_seq: int
    created_at: float
    version: int = VERSION  # of the forms that were written below it


class NewerVersion(Exception):
    """A whole header, of a jobd newer than this one: deliberately no BadLine, it is no damage."""

    def __init__(self, version: int) -> None:
        super().__init__(f"journal version {version}; this jobd reads up to {VERSION}")
        self.version = version


def encode(seq: int, records: Sequence[Record]) -> bytes:
    """ValueError if the line could not be read again: a bug of whoever made the records."""
    assert seq >= 1, "records count from 1"
    assert records, "a commit has something to say"
    return _seal(f'"seq":{seq},"records":[{",".join(map(forms.write, records))}]}}')


def decode(line: bytes) -> Commit:
    """The commit in `line`, whole and valid, or BadLine; no other error, whatever the bytes."""
    said = _open(line, ("crc", "seq", "records"))
    seq, records = said["seq"], said["records"]
    if type(records) is not list or not records:
        raise BadLine("a commit without records")
    try:
        return Commit(kinds.ORDINAL.read(seq), [forms.read(record) for record in records])
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except BadLine:
        raise
    except ValueError as exc:  # a number that JSON can say and Python can't
        raise BadLine(str(exc)) from None


def encode_header(header: Header) -> bytes:
    return _seal(
        f'"journal":"jobd","version":{VERSION},"first_seq":{header.first_seq}'
        f',"created_at":{kinds.NUMBER.write(header.created_at)}}}'
    )


def decode_header(line: bytes) -> Header:
    """BadLine, or NewerVersion where only that is certain."""
    said = _open(line)
    if said.get("journal") != "jobd":
        raise BadLine("not the header of a segment")
    version = kinds.ORDINAL.read(said.get("version"))
    if version > VERSION:
        raise NewerVersion(version)
    if list(said) != ["crc", "journal", "version", "first_seq", "created_at"]:
        raise BadLine(f"not a header of version {version}")
    first_seq, created_at = said["first_seq"], said["created_at"]
    return Header(kinds.ORDINAL.read(first_seq), kinds.NUMBER.read(created_at), version)


def sealed(line: bytes) -> bool:
    """Whether the line is whole and its checksum right: it was written so by a jobd."""
    return (
        line.endswith(b"}\n")
        and line.startswith(PREFIX)
        and line[16:_CHECKED_FROM] == b'",'
        and line[8:16] == b"%08x" % zlib.crc32(memoryview(line)[_CHECKED_FROM:-1])
    )


def _seal(rest: str) -> bytes:
    body = kinds.utf8(rest)
    assert b"\n" not in body, "JSON escapes newlines; a raw one would split the commit"
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(body), body)


def _open(line: bytes, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """The object in a sealed line; with `keys`, exactly these."""
    if not line.endswith(b"\n"):
        raise BadLine("no newline at the end: the write was cut short")
    if not sealed(line):
        raise BadLine("the checksum does not match")
    try:
        said = kinds.parse(line.decode())
    except UnicodeDecodeError as exc:
        raise BadLine(f"not UTF-8: {exc}") from None
    if type(said) is not dict or (keys and tuple(said) != keys):
        raise BadLine("the checksum matches, but this is no line of a journal")
    return said
