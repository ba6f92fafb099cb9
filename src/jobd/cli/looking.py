"""The verbs of jobctl that only look: what there is, what happens, what ended how."""

from __future__ import annotations

from jobd.cli import render, wording
from jobd.cli.arguments import (
    EXIT_TIMEOUT,
    Asked,
    Parser,
    duration,
    ids,
    integer,
    no_options,
    print_json,
)
from jobd.cli.several import for_each
from jobd.client.calls import said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jobd.client.sync import Client

EXIT_JOB_FAILED = 1
PAGE = 1000  # the most that `list` answers with

_JOBS = (
    render.Column("ID"),
    render.Column("STATUS"),
    render.Column("JOB", cut=True),
    render.Column("QUEUE", needs=80),
    render.Column("ATTEMPT", right=True, needs=80),
    render.Column("WHEN", right=True, needs=60),
)


def overview(asked: Asked) -> int:
    """`jobctl` alone: what runs, what waits, what failed last."""
    client = asked.client()
    running = _list(client, {"status": "running"}, 20)
    waiting = _list(client, {"status": ["pending", "pending_retry"]}, 10)
    failed = _list(client, {"status": "failed"}, 5)
    if asked.json:
        print_json({"running": running, "waiting": waiting, "failed": failed})
        return 0
    stats = client.stats()
    numbers = ", ".join(f"{n} {status}" for status, n in stats["jobs"].items() if n)
    print(numbers or "no jobs yet; hand one in with `jobctl submit`")
    if held := stats.get("held"):
        print(f"nothing is started: {held['why']} (since {held['since']})")
    for title, page in (("Running", running), ("Waiting", waiting), ("Failed last", failed)):
        if page["jobs"]:
            render.table(_JOBS, map(_row, page["jobs"]), title=title)
    return 0


def status(asked: Asked) -> int:
    return for_each(asked, "status", _show)


def list_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--status", metavar="S[,S]", type=lambda text: text.split(","))
    add("--queue", metavar="NAME")
    add("--tag", metavar="TEXT")
    add("--target", metavar="MODULE:NAME")
    add("--limit", metavar="N", type=integer, default=100, help="at most so many; else 100")
    add("--all", action="store_const", const=None, dest="limit", help="however many there are")
    add("--cursor", metavar="C", help="from an earlier answer: go on after it")


def list_(asked: Asked) -> int:
    wanted = {name: getattr(asked, name) for name in ("status", "queue", "tag", "target")}
    page = _list(asked.client(), wanted, asked.limit, asked.cursor)
    if not asked.tell(page):
        render.table(_JOBS, map(_row, page["jobs"]))
    return 0


def running_jobs(client: Client) -> dict[str, Any]:
    """As the protocol's `list` tells all that run."""
    return _list(client, {"status": "running"}, None)


def _list(
    client: Client, wanted: Mapping[str, Any], limit: int | None, cursor: str | None = None
) -> dict[str, Any]:
    """As the protocol's `list`, but a short page is filled up."""
    jobs: list[dict[str, Any]] = []
    while True:
        room = PAGE if limit is None else min(PAGE, limit - len(jobs))
        page = client.call("list", said({**wanted, "limit": room, "cursor": cursor}))
        jobs += page["jobs"]
        cursor = page["cursor"]
        if cursor is None or (limit is not None and len(jobs) >= limit):
            return {"jobs": jobs, "cursor": cursor}


def wait_options(parser: Parser) -> None:
    ids(parser)
    parser.add_argument("--any", action="store_true", help="return when one of them has ended")
    parser.add_argument("--timeout", metavar="T", type=duration, help="124 when it has run out")


def wait(asked: Asked) -> int:
    answer = asked.client().wait(asked.ids, asked.timeout, any=asked.any)
    if not asked.tell(answer):
        for job in answer["jobs"]:
            print(f"{job['id']}  {job['status']}  {wording.ending(job)}".rstrip())
    if answer["timed_out"]:
        return EXIT_TIMEOUT
    lost = any(job["status"] in ("failed", "cancelled") for job in answer["jobs"])
    return EXIT_JOB_FAILED if lost else 0


def events_options(parser: Parser) -> None:
    parser.add_argument("--status", metavar="S[,S]", type=lambda text: text.split(","))
    parser.add_argument("--queue", metavar="NAME")
    parser.add_argument("--id", metavar="ID")
    parser.add_argument("--since", metavar="SEQ", type=integer, help="later ones still held first")


def events(asked: Asked) -> int:
    """Until Ctrl-C."""
    wanted = said({name: getattr(asked, name) for name in ("status", "queue", "id")})
    for event in asked.client().events(since=asked.since, **wanted):
        if asked.tell(event):
            continue
        if event.get("gap"):
            print("(some events are held no longer)", flush=True)
            continue
        attempt = f"attempt {event['attempt']}" if event.get("attempt") else ""
        line = (
            f"{wording.local(event['at'])}  {event['seq']:>6}  {event['id']}"
            f"  {event['status'] or 'removed':<13}  {event['queue']}  {attempt}"
        )
        print(line.rstrip(), flush=True)
    return 0


def stats(asked: Asked) -> int:
    answer = asked.client().stats()
    if asked.tell(answer):
        return 0
    known = ("jobs", "queues", "running", "max_running", "uptime_s")
    render.facts([
        ("running", f"{answer['running']} of {answer['max_running']}"),
        ("uptime", wording.duration(answer["uptime_s"])),
        *((status, str(count)) for status, count in answer["jobs"].items()),
        *(fact for name in answer if name not in known for fact in _flat(name, answer[name])),
    ])  # fmt: skip
    render.table(_QUEUES, [
        (name, str(queue["pending"]), str(queue["running"]),
         "–" if queue["max_running"] is None else str(queue["max_running"]))
        for name, queue in answer["queues"].items()
    ])  # fmt: skip
    return 0


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    """`journal: {bytes: 5}` as `journal.bytes  5`."""
    if isinstance(value, dict):
        return [fact for part in value for fact in _flat(f"{name}.{part}", value[part])]
    return [(name, f"{value:.6g}" if isinstance(value, float) else str(value))]


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        job["id"], job["status"], wording.what(job), job["queue"], str(job["attempt"]),
        wording.when(job),
    )  # fmt: skip


def _show(job: Mapping[str, Any]) -> None:
    """A job document for people; what has its default is left out."""
    failure = job["failure"]
    shown = {
        "id": job["id"],
        "status": job["status"],
        "label": wording.printable(job.get("label") or ""),
        "runs": wording.runs(job),
        "args": wording.one_line_json(job["args"]) if job.get("args") else "",
        "kwargs": wording.one_line_json(job["kwargs"]) if job.get("kwargs") else "",
        "tags": wording.printable(", ".join(job.get("tags") or ())),
        "env": ", ".join(job.get("env") or ()),
        "queue": f"{job['queue']}, priority {job['priority']}",
        "submitted": f"{wording.local(job['submitted_at'])} by {job['submitted_by']}",
        "not before": wording.local(job["run_at"]),
        "started": wording.local(job["started_at"]),
        "finished": wording.local(job["finished_at"]),
        "now": wording.when(job),
        "progress": wording.progress(job),
        "attempts": f"{job['attempt']}, retries left {job['retries_left']}",
        "result": "" if job["result"] is None else wording.one_line_json(job["result"]),
        "failure": wording.ending(job),
    }
    render.facts([(name, value) for name, value in shown.items() if value])
    if job["attempts"]:
        render.table(_ATTEMPTS, map(_attempt_row, job["attempts"]))
    if failure is not None and failure.get("traceback"):
        # Lines stay lines here, but nothing else that a terminal would obey.
        print("\n".join(map(wording.printable, failure["traceback"].splitlines())))


_QUEUES = (
    render.Column("QUEUE"),
    render.Column("PENDING", right=True),
    render.Column("RUNNING", right=True),
    render.Column("MAX", right=True),
)
_ATTEMPTS = (
    render.Column("ATTEMPT", right=True),
    render.Column("STARTED", needs=60),
    render.Column("TOOK", right=True),
    render.Column("OUTCOME"),
    render.Column("CODE", right=True),
    render.Column("CPU", right=True, needs=80),
    render.Column("MEMORY", right=True, needs=80),
    render.Column("PID", right=True, needs=80),
)


def _attempt_row(attempt: Mapping[str, Any]) -> Sequence[str]:
    took = ""
    if attempt["finished_at"] is not None:
        took = wording.duration(
            max(0.0, wording.epoch(attempt["finished_at"]) - wording.epoch(attempt["started_at"]))
        )
    code = attempt["signal"] or attempt["exit_code"]
    return (
        str(attempt["attempt"]), wording.local(attempt["started_at"]), took,
        attempt["outcome"] or "running", "" if code is None else str(code),
        "" if attempt["cpu_time"] is None else wording.duration(attempt["cpu_time"]),
        "" if attempt["max_rss"] is None else wording.size(attempt["max_rss"]),
        "" if attempt["pid"] is None else str(attempt["pid"]),
    )  # fmt: skip


VERBS = {
    "overview": (no_options, overview),
    "status": (ids, status),
    "list": (list_options, list_),
    "wait": (wait_options, wait),
    "events": (events_options, events),
    "stats": (no_options, stats),
}
