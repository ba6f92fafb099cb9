"""A disk that a crash left, and what the real recovery makes of it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from jobd.core import ids, lifecycle
from jobd.core.engine import Engine
from jobd.core.job import Policy
from jobd.core.records import Kept, Submitted
from jobd.core.rules import Rules
from jobd.errors import JournalDamaged
from jobd.journal.files import Files
from jobd.journal.store import Store
from recorded.disk import Image
from recorded.recording import SEGMENT_BYTES

STEM = "0123456789ab"  # of the job that is submitted after the recovery


class Memory(Files):
    """Reserves no room: that would be most of the work."""

    def reserve(self, fd: int, offset: int, size_bytes: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@dataclass
class Revived:
    """`damaged`: it was refused, and nothing else is known."""

    seq: int = 0
    jobs: dict[str, Kept] = field(default_factory=dict)
    damaged: str | None = None
    broken: str | None = None  # what went wrong, there or with the next commit


class Revival:
    """Remembers what it has seen: the same disk is not tried twice."""

    def __init__(
        self, place: Path, folds: Mapping[int, dict[str, Kept]], files: Files | None = None
    ) -> None:
        self._place = place
        self._folds = folds
        self._files = files or Memory()
        self._known: dict[bytes, Revived] = {}
        self._sound: set[bytes] = set()  # disks after the next commit
        self._loop = asyncio.new_event_loop()

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> None:
        self._loop.close()
        shutil.rmtree(self._place, ignore_errors=True)

    def of(self, image: Image) -> Revived:
        key = _digest(image)
        if key not in self._known:
            found = self._known[key] = self._try(image)
            expected = self._folds.get(found.seq)
            if found.jobs == expected:
                found.jobs = expected  # thousands of copies would be most of the memory
        return self._known[key]

    def _try(self, image: Image) -> Revived:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        for name, content in image:
            path = self._place / name
            if content is None:
                path.mkdir(mode=0o700)
            else:
                path.write_bytes(content)
        try:
            found = self._recover(and_append=True)
        except JournalDamaged as damaged:
            return Revived(damaged=str(damaged))
        except Exception as exc:  # whatever it is, it is a finding
            return Revived(broken=repr(exc))
        after = _digest(_image(self._place))
        if after not in self._sound:
            found.broken = self._differs_next_time(found)
            if found.broken is None:
                self._sound.add(after)
        return found

    def _differs_next_time(self, found: Revived) -> str | None:
        try:
            again = self._recover(and_append=False)
        except Exception as exc:
            return f"after one more commit: {exc!r}"
        fresh = again.jobs.pop(ids.whole(STEM, found.seq + 1), None)
        if fresh is None or again.jobs != found.jobs or again.seq != found.seq + 1:
            return (
                f"after one more commit it reads otherwise: record {again.seq} where "
                f"{found.seq + 1} is the last, jobs {sorted(found.jobs.keys() ^ again.jobs.keys())}"
            )
        return None

    def _recover(self, *, and_append: bool) -> Revived:
        """As `main` does it."""
        store = Store.open(
            self._place / "state", fsync="always", interval_s=1.0, segment_bytes=SEGMENT_BYTES,
            files=self._files,
        )  # fmt: skip
        try:
            engine = Engine(Rules(max_running=16), boot_id="another")
            for seq, records in store.recovered:
                engine.replay(seq, records)
            assert engine.seq in (0, store.next_seq - 1), "the engine and the store have read on"
            found = Revived(store.next_seq - 1, snapshots(engine))
            if and_append:
                record = Submitted(
                    id=ids.whole(STEM, store.next_seq), at=1.0, by="uid:0", call=b"{}",
                    policy=Policy(), run_at=1.0,
                )  # fmt: skip
                self._loop.run_until_complete(store.append(store.next_seq, [record]))
            return found
        finally:
            store.close()


def snapshots(engine: Engine) -> dict[str, Kept]:
    """All that is known of every job."""
    return {job.id: lifecycle.snapshot(job, 0.0) for job in engine.jobs}


def _image(place: Path) -> Image:
    return tuple(
        (str(path.relative_to(place)), None if path.is_dir() else path.read_bytes())
        for path in sorted(place.rglob("*"))
    )


def _digest(image: Image) -> bytes:
    whole = hashlib.blake2b(digest_size=16)
    for name, content in image:
        whole.update(f"\n{name} ".encode())
        if content is not None and name != "state/lock":  # which tells who had it, to people
            whole.update(_content_digest(content))
    return whole.digest()


@lru_cache(maxsize=64)
def _content_digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
