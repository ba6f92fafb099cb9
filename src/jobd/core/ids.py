"""Ids: 16 characters of lower-case Crockford base 32.

The first 12 are the *stem*, made from submitter and `request_id`: so a repetition finds its
job without a second index.  The last 4 are the ordinal of the submission: so a `request_id`
that is used again after its job was forgotten does not bring back an old id.
"""

from __future__ import annotations

import hashlib
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH: Final = 16
STEM_LENGTH: Final = 12
PREFIX_MIN: Final = 4


def stem(submitter: str, request_id: str) -> str:
    """The first 12 characters of the id: 60 bits of a hash."""
    digest = hashlib.blake2b(f"{submitter}\0{request_id}".encode(), digest_size=8).digest()
    return _base32(int.from_bytes(digest, "big"), STEM_LENGTH)


def whole(stem: str, ordinal: int) -> str:
    """The id of the submission that is the journal's `ordinal`-th record."""
    return stem + _base32(ordinal, ID_LENGTH - STEM_LENGTH)


def _base32(number: int, length: int) -> str:
    """The lowest 5·length bits."""
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * length - 5, -1, -5))
