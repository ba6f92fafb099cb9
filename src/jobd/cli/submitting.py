"""`jobctl submit`: one job, or a file of them."""

from __future__ import annotations

import sys

from jobd.cli.arguments import Asked, Parser, UsageError, note
from jobd.cli.fields import field_options, given_fields, submission_of
from jobd.cli.grammar import strict_json
from jobd.client.protocol import ConnectionLost, encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from jobd.client.sync import Client

# One commit and one answer each: large enough to be quick, far below the 8 MiB of a request.
BATCH_JOBS = 1000
BATCH_BYTES = 1024 * 1024


def submit_options(parser: Parser) -> None:
    parser.usage = (
        "jobctl submit TARGET [METHOD] [ARG… NAME=TEXT… NAME:=JSON…] [options]\n"
        "       jobctl submit [options] -- PROGRAM [ARG…]\n"
        "       jobctl submit [options] --from FILE"
    )
    parser.takes_program = True
    parser.add_argument("words", nargs="*", metavar="TARGET …", help="package.module:Name")
    parser.add_argument(
        "--from", dest="file", metavar="FILE", help="JSON lines of fields (-: standard input)"
    )
    field_options(parser)


def submit(asked: Asked) -> int:
    if asked.file is not None:
        return _submit_file(asked)
    fields = submission_of(asked)
    answer = handed_in(asked.client(), fields)
    if answer["duplicate"] and "request_id" in fields:  # else it is this one, sent twice
        note("this request was made before; no new job")
    if not asked.tell(answer):
        print(answer["id"])
    return 0


def handed_in(client: Client, fields: dict[str, Any]) -> Any:
    """The answer to `submit`.  Who interrupts it is told what is not known then."""
    try:
        return client.call("submit", fields)
    except KeyboardInterrupt:
        note(f"interrupted before jobd on {client.socket} answered: the job may be stored;"
             " `jobctl list` shows it")  # fmt: skip
        raise


def _submit_file(asked: Asked) -> int:
    if asked.words or asked.command is not None:
        raise UsageError("either --from FILE or one job")
    client, stored, unknown = asked.client(), 0, 0
    try:
        for jobs in _batches(_jobs(asked.file, given_fields(asked))):
            unknown = len(jobs)
            answer = client.call("submit_many", {"jobs": jobs})
            stored, unknown = stored + len(jobs), 0
            if not asked.tell(answer):
                sys.stdout.write("".join(f"{job['id']}\n" for job in answer["jobs"]))
                sys.stdout.flush()
    except (ConnectionLost, KeyboardInterrupt):
        _tell_stored(asked.file, stored, unknown)
        raise
    except Exception:
        _tell_stored(asked.file, stored, 0)
        raise
    finally:
        client.close()
    return 0


def _tell_stored(file: str, stored: int, unknown: int) -> None:
    """What is there of a file that was not submitted to its end."""
    if unknown:
        note(f"the first {stored} jobs of {file} are stored, the next {unknown} all or none,"
             " none after them; `jobctl list` shows them")  # fmt: skip
    elif stored:
        note(f"the first {stored} jobs of {file} are stored, none after them")


def _jobs(file: str, common: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each line's fields; what the options say holds where a line says nothing."""
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    fields = strict_json(line.decode())
                except (ValueError, RecursionError) as exc:
                    raise UsageError(f"{file}:{number}: no JSON: {exc}") from None
                if not isinstance(fields, dict):
                    raise UsageError(f"{file}:{number}: a line is an object of a job's fields")
                yield {**common, **fields}
    except OSError as exc:
        raise UsageError(f"{file}: {exc.strerror}") from exc


def _batches(jobs: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for job in jobs:
        length = len(encoded(job))
        if batch and (len(batch) == BATCH_JOBS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += length
    if batch:
        yield batch


VERBS = {"submit": (submit_options, submit)}
