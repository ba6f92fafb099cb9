"""`jobd demo`: the main job on real input, in a directory of its own, with an honest end."""

from __future__ import annotations

import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from jobd.cli.arguments import write_no_more
from jobd.demo import story as stories
from jobd.demo.board import Board
from jobd.demo.findings import Finding, Findings
from jobd.demo.home import Home, archiver
from jobd.demo.service import Service
from jobd.demo.summary import tell_findings, tell_results, tell_where
from jobd.demo.view import say, watch
from jobd.errors import JobdError

EXIT_INTERRUPTED: Final = 130


def main() -> int:
    """0: all went as told; 1: something did not; 130: interrupted, and nothing is left."""
    home = Home()
    try:
        with _interruptible():
            return _demo(home)
    except KeyboardInterrupt:
        home.remove()
        print("interrupted; the daemon is stopped and all is removed", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # nobody reads how to look further
        home.remove()
        write_no_more()
        return 1
    except JobdError as exc:
        print(f"jobd demo: {exc}\nall that was written is in {home.path}", file=sys.stderr)
        return 1


def _demo(home: Home) -> int:
    home.furnish(archiver()[0])
    with Service(home) as service:
        client = service.client
        ping = client.ping()
        story = stories.begin(client, home)
        say(
            f"jobd {ping['version']} (pid {ping['pid']}) runs {len(story.ids)} jobs on the "
            f"standard library of Python {platform.python_version()}, in {home.path}\n"
        )
        watch(client.events(since=0), Board(story.labels))
        findings = Findings(story, stories.ended(client, home, story))
    found = [*findings.all(), _stopped(service.exit_code)]
    tell_results(findings)
    tell_findings(found, findings.cost())
    tell_where(home, story)
    return 0 if all(finding.held for finding in found) else 1


def _stopped(exit_code: int | None) -> Finding:
    return Finding(exit_code == 0, f"the daemon was told to stop and ended with code {exit_code}")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, to be told to end and to lose the terminal are a Ctrl-C."""
    signals = [signal.SIGTERM]
    if sys.platform != "win32":
        signals.append(signal.SIGHUP)
    before: dict[signal.Signals, Any] = {
        each: signal.signal(each, signal.default_int_handler) for each in signals
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
