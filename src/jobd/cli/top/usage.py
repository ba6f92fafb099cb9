"""What the processes of a job cost, as the operating system counts it.

A job's are those that descend from its process or are of its session; what left both, as a
double fork can, is the keeper's to find and not counted here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

import psutil


class Cost(NamedTuple):
    cpu: float | None  # share of one processor since the last look; None: the first look
    memory: int  # bytes resident, shared ones counted in each process


class Usage:
    """Looks at processes, and remembers what they had used at the last look."""

    def __init__(self) -> None:
        self._used: dict[tuple[int, float], float] = {}  # (pid, started) → s of processor
        self._looked_at: float | None = None

    def look(self, pids: Iterable[int]) -> dict[int, Cost]:
        """By the pid of a job's process.  It lacks those that can't be seen by this user, or are
        no longer there.
        """
        children = _children()
        trees = {pid: _tree(pid, children) for pid in pids}
        now = time.monotonic()
        since = None if self._looked_at is None else now - self._looked_at
        used: dict[tuple[int, float], float] = {}
        costs = {}
        for pid, tree in trees.items():
            cost = self._cost(tree, since, used)
            if cost is not None:
                costs[pid] = cost
        self._used, self._looked_at = used, now
        return costs

    def _cost(
        self, tree: list[int], since: float | None, used: dict[tuple[int, float], float]
    ) -> Cost | None:
        spent, memory = 0.0, 0
        for pid in tree:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    times = process.cpu_times()
                    resident = process.memory_info().rss
                    started = process.create_time()
            except psutil.Error:
                if pid == tree[0]:
                    return None
                continue  # it has just ended
            total = times.user + times.system
            used[pid, started] = total
            # What began since the last look has used all that it has since then.
            spent += total - self._used.get((pid, started), 0.0)
            memory += resident
        if not tree:
            return None
        return Cost(None if not since else max(0.0, spent / since), memory)


def _children() -> dict[int, list[int]]:
    """Of every process, by pid; and what leads a session has all of that session."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
        session = _session(pid)
        if session not in (None, pid, parent):
            children.setdefault(session or 0, []).append(pid)
    return children


def _parents() -> dict[int, int]:
    parents = {}
    for process in psutil.process_iter():
        try:
            parents[process.pid] = process.ppid()
        except psutil.Error:
            continue
    return parents


def _session(pid: int) -> int | None:
    getsid = getattr(os, "getsid", None)
    try:
        return None if getsid is None else getsid(pid)
    except OSError:  # it has ended, or is another user's
        return None


def _tree(pid: int, children: dict[int, list[int]]) -> list[int]:
    """`pid` and all below it; empty where that pid leads no session, so is no job's any longer."""
    if _session(pid) not in (None, pid):
        return []
    found: dict[int, None] = {pid: None}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)
