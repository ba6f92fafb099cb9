"""`jobd journal …`: looks at a journal, makes it smaller, or mends it, while no daemon serves it.

`verify`, `dump` and `stats` only read and take no lock, so that they also work beside a daemon.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from jobd.cli import repairing
from jobd.cli.arguments import write_no_more
from jobd.config import Config
from jobd.core.commands import KEEP_MAX, Keep
from jobd.core.engine import Engine
from jobd.core.job import Status
from jobd.core.moment import Moment
from jobd.core.records import Record
from jobd.core.rules import Rules
from jobd.errors import CannotStart, JournalDamaged, JournalFailed
from jobd.instants import rfc3339
from jobd.journal import forms, kinds
from jobd.journal.recovery import Place, Reading, refuse_unfinished
from jobd.journal.store import DIRECTORY, Store

LINE_MAX: Final = 200  # characters of a record shown to people


def register(parser: argparse.ArgumentParser, places: argparse.ArgumentParser) -> None:
    """The tools, below `jobd journal`."""
    tools = parser.add_subparsers(dest="tool", metavar="TOOL", required=True)
    for name, (_, says) in _TOOLS.items():
        tool = tools.add_parser(name, help=says, description=says, parents=[places])
        tool.add_argument("--json", action="store_true", help="for programs")
        if name == "dump":
            tool.add_argument("--secrets", action="store_true", help="show values of env too")


def run(args: argparse.Namespace, config: Config) -> int:
    """The exit code.  Raises CannotStart."""
    tool, _ = _TOOLS[args.tool]
    try:
        return tool(args, config)
    except BrokenPipeError:  # `dump | head` has seen enough
        write_no_more()
        return 0


# ------------------------------------------------------------------------------------ tools


def _verify(args: argparse.Namespace, config: Config) -> int:
    records = 0
    reading = _reading(config)
    try:
        for _, _, of_commit in _commits(reading):
            records += len(of_commit)
    except JournalDamaged as damage:
        repairing.explain(args, config, damage)
        if not args.json:
            raise
        return damage.exit_code
    torn = reading.torn
    if args.json:
        print(json.dumps({"sound": True, **_extent(reading), "records": records}))
        return 0
    print(f"sound: {records:,} records in {reading.commits:,} commits, {_size(reading)}")
    if torn is not None:
        print(
            f"{torn.place.path}:{torn.place.line} (byte {torn.place.offset}): the last write was "
            f"cut short; its {torn.size_bytes:,} bytes are dropped at the next start"
        )
    return 0


def _dump(args: argparse.Namespace, config: Config) -> int:
    for _, seq, records in _commits(_reading(config)):
        for ordinal, record in enumerate(records, seq):
            said = json.loads(forms.write(record))
            if not args.secrets and "call" in said:
                said["call"] = _without_secrets(said["call"])
            if args.json:
                print(json.dumps({"seq": ordinal, **said}))
            else:
                _print_record(ordinal, said)
    return 0


def _stats(args: argparse.Namespace, config: Config) -> int:
    reading = _reading(config)
    engine = _engine()
    types: Counter[str] = Counter()
    for _, seq, records in _commits(reading):
        types.update(forms.TAGS[type(record)] for record in records)
        engine.replay(seq, records)
    jobs = {status: engine.counts[status] for status in Status}
    if args.json:
        print(json.dumps({**_extent(reading), "records": types, "jobs": jobs}))
        return 0
    print(f"{_size(reading)}, {reading.commits:,} commits, last record {reading.next_seq - 1:,}")
    for title, counts in (("records", types), ("jobs", jobs)):
        print(f"\n{title}")
        for name, count in counts.items():
            print(f"  {name:<16}{count:>12,}")
    return 0


def _compact(args: argparse.Namespace, config: Config) -> int:
    before = _reading(config)
    kept = asyncio.run(_rewrite(config))
    after = _reading(config)
    if args.json:
        sizes = {"bytes_before": _bytes(before), "bytes": _bytes(after)}
        print(json.dumps({"jobs": kept, "segments": len(after.segments), **sizes}))
    else:
        print(f"{kept:,} jobs kept; {_size(before)} before, {_size(after)} now")
    return 0


async def _rewrite(config: Config) -> int:
    """Every job is said again in new segments, then the old ones go, the oldest first.

    The same as the daemon does, segment by segment: a crash at any point leaves a journal that
    says the same, some of it twice.
    """
    store = Store.open(
        config.daemon.state_dir, fsync="always", interval_s=config.journal.interval,
        segment_bytes=config.journal.segment_bytes,
    )  # fmt: skip
    try:
        engine = _engine()
        for seq, records in store.recovered:
            engine.replay(seq, records)
        await store.rotate()
        old = store.sealed
        if not old and store.next_seq > 1:
            raise JournalFailed(f"{store.directory}: no room for a new segment; nothing changed")
        now = Moment(time.time(), 0.0)
        ids = [job.id for job in engine.jobs]
        for start in range(0, len(ids), KEEP_MAX):
            facts = engine.decide(Keep(tuple(ids[start : start + KEEP_MAX])), now).facts
            records = [fact.record for fact in facts]
            await store.append(facts[0].seq, records, engine.promised_bytes)
        for segment in old:
            await store.drop(segment.path)
        return len(ids)
    finally:
        await store.aclose()


_TOOLS: Final[dict[str, tuple[Callable[[argparse.Namespace, Config], int], str]]] = {
    "verify": (_verify, "read all of it and tell each damage; exit code 0: sound, 100: damaged"),
    "dump": (_dump, "print every record"),
    "stats": (_stats, "how large it is, and what is in it"),
    "compact": (_compact, "drop what is no longer needed"),
    "repair": (
        repairing.repair,
        "write a damaged journal anew without what is lost, and keep the old one",
    ),
}

# ------------------------------------------------------------------------------------ reading


def _reading(config: Config) -> Reading:
    directory = config.daemon.state_dir / DIRECTORY
    try:
        return Reading(directory)
    except FileNotFoundError:
        refuse_unfinished(config.daemon.state_dir)
        raise CannotStart(f"{directory}: there is no journal; see --state-dir") from None
    except OSError as exc:
        raise JournalFailed(f"{directory}: {exc}") from exc


def _commits(reading: Reading) -> Iterator[tuple[Place, int, list[Record]]]:
    try:
        for place, commit in reading:
            yield place, commit.seq, commit.records
    except OSError as exc:
        raise JournalFailed(
            f"the journal can't be read: {exc}; if a daemon is running, it may have compacted: "
            "try again"
        ) from exc


def _engine() -> Engine:
    """To replay with: what it may start does not matter."""
    return Engine(Rules(max_running=1), boot_id="")


# ------------------------------------------------------------------------------------ showing


def _bytes(reading: Reading) -> int:
    return sum(segment.size_bytes for segment in reading.segments)


def _size(reading: Reading) -> str:
    segments = len(reading.segments)
    return f"{segments:,} segment{'s' * (segments != 1)}, {_bytes(reading) / 2**20:,.1f} MiB"


def _extent(reading: Reading) -> dict[str, Any]:
    torn = reading.torn
    return {
        "segments": len(reading.segments),
        "bytes": _bytes(reading),
        "commits": reading.commits,
        "seq": reading.next_seq - 1,
        "torn": torn
        and {
            "path": str(torn.place.path), "line": torn.place.line, "offset": torn.place.offset,
            "bytes": torn.size_bytes, "why": torn.why,
        },
    }  # fmt: skip


def _without_secrets(call: dict[str, Any]) -> dict[str, Any]:
    """With the names of the environment, as job documents show it."""
    return {**call, "env": sorted(call["env"])} if "env" in call else call


def _print_record(ordinal: int, said: dict[str, Any]) -> None:
    kind, id, at = said.pop("type"), said.pop("id"), said.pop("at")
    rest = kinds.utf8(json.dumps(said, ensure_ascii=False)).decode()
    if len(rest) > LINE_MAX:
        rest = rest[:LINE_MAX] + "…"
    print(f"{ordinal:>10}  {rfc3339(at)}  {id}  {kind:<15} {rest}")
