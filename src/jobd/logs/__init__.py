"""The daemon's three logs, as the config says: two of the jobs, one of its own."""

from __future__ import annotations

import logging
import sys
from typing import Final

from jobd.clock import Clock
from jobd.config import Config
from jobd.errors import CannotStart
from jobd.logs.files import LogFile, LogFileHandler
from jobd.logs.joblog import JobLog, rotation

OWN: Final = "jobd.log"

log = logging.getLogger(__name__)


class Logs:
    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises CannotStart."""
        log_dir = config.daemon.log_dir
        self._clock = clock
        try:
            log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise CannotStart(f"{log_dir}: can't be used as log_dir: {exc.strerror}") from exc
        own = LogFile(str(log_dir / OWN), rotation(config.logging), _tell_stderr)
        self.jobs = JobLog(log_dir, config.logging, _tell_log)
        self._own = LogFileHandler(own, as_json=config.logging.format == "json")
        self._stderr = logging.StreamHandler(sys.stderr)
        self._stderr.setFormatter(logging.Formatter("jobd: %(levelname)s: %(message)s"))
        self._stderr.setLevel(logging.WARNING)
        root = logging.getLogger()
        root.addHandler(self._own)
        root.addHandler(self._stderr)
        root.setLevel(config.logging.level.upper())

    def follow(self, config: Config) -> None:
        """From now on these settings."""
        self.jobs.follow(config.logging)
        self._own.file.rotation = rotation(config.logging)
        self._own.as_json = config.logging.format == "json"
        logging.getLogger().setLevel(config.logging.level.upper())

    def reopen(self) -> None:
        """After somebody moved the files away."""
        self.jobs.reopen()
        self._own.file.reopen()

    def close(self) -> None:
        root = logging.getLogger()
        for handler in (self._own, self._stderr):
            root.removeHandler(handler)
        self.jobs.close(self._clock.now().wall)
        self._own.close()


def _tell_stderr(message: str) -> None:
    """Of the log itself: it can't say so in its own file."""
    print(f"jobd: {message}", file=sys.stderr)


def _tell_log(message: str) -> None:
    log.error("job_log what=%r", message)
