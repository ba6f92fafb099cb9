"""A binary heap from whose middle anything can be taken.

`heapq` can't tell where an item is.  Here each item carries its own `place`, so removal costs
O(log n) as everything else does: no entry goes stale, nothing is ever rebuilt.  An item can be
in one heap at a time, and `place` is -1 while it is in none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar


class Placed(Protocol):
    place: int


P = TypeVar("P", bound=Placed)


class Heap(Generic[P]):
    """The item with the smallest key first.  Keys are tuples, and no two are equal."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[tuple[Any, ...]] = []  # (*key, item): one tuple an item, not two

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[P]:
        """In no order."""
        return (entry[-1] for entry in self._entries)

    def first(self) -> P | None:
        return self._entries[0][-1] if self._entries else None

    def first_key(self) -> tuple[Any, ...]:
        """Of a heap that is not empty."""
        return self._entries[0][:-1]

    def holds(self, item: P) -> bool:
        entries = self._entries
        return 0 <= item.place < len(entries) and entries[item.place][-1] is item

    def push(self, key: tuple[Any, ...], item: P) -> None:
        assert item.place == -1, "in one heap at a time"
        self._entries.append((*key, item))
        self._rise(len(self._entries) - 1)

    def remove(self, item: P) -> None:
        """From wherever it is."""
        assert self.holds(item)
        hole = item.place
        entries = self._entries
        item.place = -1
        last = entries.pop()
        if hole < len(entries):
            entries[hole] = last
            if self._rise(hole) == hole:
                self._sink(hole)

    def _rise(self, place: int) -> int:
        """Put the entry at `place` where it belongs between there and the top."""
        entries = self._entries
        entry = entries[place]
        while place:
            above = (place - 1) >> 1
            parent = entries[above]
            if parent < entry:
                break
            entries[place] = parent
            parent[-1].place = place
            place = above
        entries[place] = entry
        entry[-1].place = place
        return place

    def _sink(self, place: int) -> None:
        """Put the entry at `place` where it belongs between there and the leaves."""
        entries = self._entries
        size = len(entries)
        entry = entries[place]
        while (below := 2 * place + 1) < size:
            if below + 1 < size and entries[below + 1] < entries[below]:
                below += 1
            child = entries[below]
            if entry < child:
                break
            entries[place] = child
            child[-1].place = place
            place = below
        entries[place] = entry
        entry[-1].place = place
