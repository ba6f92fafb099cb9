"""Kills the daemon and its keeper under load, at random and at chosen moments: `make crash`.

    JOBD_CRASH_SEED=N     the same dice again (what the machine adds to them can't be repeated)
    JOBD_CRASH_KILLS=N    how many; everything else that is wanted grows with it

It counts what was hit, has an independent judge look at the ledgers, and exits with 0 only if
all that was wanted was reached and the judge found nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "contract")]

import moments  # noqa: E402
from moments import Journal, Seen, pause, watch  # noqa: E402
from outside.installation import SRC, Installation  # noqa: E402

HERE = Path(__file__).parent
KILLS = 150
JOBS_PER_KILL = 20
# Of 150 kills at least so many; those with the keeper are its own, too.
WANTED = {
    "replay": 20, "compaction": 20, "started": 20, "upgrade": 10, "keeper": 10,
    "keeper and daemon": 10, "warm": 10,
}  # fmt: skip
STARTS = ("exec", "fork")  # of callables; the dice choose for each life of a daemon
CLASSES = {
    "random": "while it served, at random",
    "started": "within 5 ms after a `started` was written",
    "compaction": "during compaction",
    "replay": "during replay",
    "before it serves": "after the replay, before it served",
    "upgrade": "during an upgrade",
    "keeper": "the keeper alone",
    "keeper and daemon": "keeper and daemon together",
    "warm": "the warm interpreter alone",
}
CLIENTS = 32
TRIES_PER_KILL = 3  # a moment may be missed, and is then a kill at random
SHOW_EVERY = 25  # kills
CATCH_UP_S = 3.0
GONE_S = 10.0
CALM_S = 120.0  # for all that is under way when the last kill is over
CONFIG = {
    "daemon": {"max_running": 16, "max_interruptions": 100_000},
    "journal": {"segment_bytes": 64 * 1024},
    "python": {"path": [str(HERE)]},
    "allow": {"callables": {"deeds:*": ["*"]}},
}


class Campaign:
    def __init__(self, seed: int, kills: int) -> None:
        self.seed = seed
        self.kills = kills
        self.wanted = {name: -(-n * kills // KILLS) for name, n in WANTED.items()}
        self.dice = random.Random(seed)
        self.hits: Counter[str] = Counter()
        self.stops = self.upgrades = 0  # as asked
        self.lives: Counter[str] = Counter()  # of daemons, by how they start callables
        self.ledger = Path(tempfile.mkdtemp(prefix="jobd-ledger-"))
        (self.ledger / "locks").mkdir()
        self.d = Installation(CONFIG)
        self.journal = Journal(self.d.state_dir)
        self._since_service = 0  # kills since the daemon served last
        self._littering = False
        self._show_at = SHOW_EVERY
        self._load: subprocess.Popen[str] | None = None

    # Before, and after.

    def begin(self) -> None:
        self._choose_start()
        self.d.start()
        argv = [str(HERE / "load.py"), str(self.d.socket), str(self.ledger), str(self.seed)]
        self._load = subprocess.Popen(
            [sys.executable, *argv, str(CLIENTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SRC}, text=True,
        )  # fmt: skip
        assert self.load.stdout is not None
        assert self.load.stdout.readline() == "busy\n"
        os.set_blocking(self.load.stdout.fileno(), False)

    def end(self) -> list[str]:
        """Calm weather: all that was accepted comes to its end.  What was not as it should be."""
        self.serve()
        self._tell("calm")
        assert self.load.wait(CALM_S) == 0, "a client failed"
        faults = [f"too few: {', '.join(self.missed)}"] if self.missed else []
        if code := self.d.stop():
            faults.append(f"the daemon stopped with exit code {code}: {self.d.stderr}")
        if not watch(GONE_S, lambda: not self.d.processes(), look_s=0.02):
            faults.append(f"processes are left: {self.d.processes()}")
        verified = self.d.jobd("journal", "verify", "--config", str(self.d.config_path))
        if verified.code != 0:
            faults.append(f"the journal is not sound: {verified}")
        return faults

    def abandon(self) -> None:
        """Nothing goes on; what lies on the disk stays, to be looked at."""
        if self._load is not None:
            self._load.kill()
        watch(GONE_S, self._nothing_lives, look_s=0.02)
        print(f"left as it was: {self.d.home} and {self.ledger}", flush=True)

    def _nothing_lives(self) -> bool:
        alive = self.d.processes()
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not alive

    @property
    def load(self) -> subprocess.Popen[str]:
        assert self._load is not None
        return self._load

    @property
    def ran(self) -> int:
        """Jobs that began: each has made its lock."""
        return len(os.listdir(self.ledger / "locks"))

    @property
    def lacking(self) -> list[str]:
        return [name for name, n in self.wanted.items() if self.hits[name] < n]

    @property
    def jobs_wanted(self) -> int:
        return JOBS_PER_KILL * self.kills

    @property
    def missed(self) -> list[str]:
        """The targets that are not met."""
        missed = list(self.lacking)
        if self.hits.total() < self.kills:
            missed.append("kills")
        if self.ran < self.jobs_wanted:
            missed.append("jobs")
        return missed

    def _tell(self, word: str) -> None:
        assert self.load.stdin is not None
        self.load.stdin.write(f"{word}\n")
        self.load.stdin.flush()

    # Weather.

    def storm(self) -> None:
        """Until every target is met, or it has been tried often enough."""
        tries = {
            "random": self._at_random, "started": self._just_started,
            "compaction": self._in_compaction, "replay": self._in_replay,
            "upgrade": self._in_upgrade, "keeper": self._keeper_alone,
            "keeper and daemon": self._keeper_and_daemon, "warm": self._warm_alone,
        }  # fmt: skip
        for _ in range(TRIES_PER_KILL * self.kills):
            if not self.missed:
                return
            assert self.load.poll() is None, "a client failed"
            name = self.dice.choice(list(tries))
            if self.lacking and self.dice.random() < 0.7:
                name = self.dice.choice(self.lacking)
            if self._since_service >= 3 and name == "replay":
                name = "random"  # or nothing would ever get done
            tries[name]()
            if self.dice.random() < 0.05:
                self._as_asked()
            if self.hits.total() >= self._show_at:
                self._show_progress()

    def serve(self) -> None:
        """A daemon that answers.  One that was killed always comes back."""
        if self.d.process is None or self.d.process.poll() is not None:
            code = None if self.d.process is None else self.d.process.poll()
            assert code in (None, 0, -signal.SIGKILL), f"exit code {code}: {self.d.stderr}"
            self._choose_start()
            self.d.start()
            self._since_service = 0
            if self.dice.random() < 0.5:
                self._catch_up()

    def _choose_start(self) -> None:
        """What runs was begun by the life before, in whichever way."""
        start = self.dice.choice(STARTS)
        self.lives[start] += 1
        self.d.write_config({**CONFIG, "python": {**CONFIG["python"], "start": start}})

    def _catch_up(self) -> None:
        """Jobs and kills keep step, so that neither is there without the other."""
        due = JOBS_PER_KILL * self.hits.total()
        watch(CATCH_UP_S, lambda: self.ran >= due, look_s=0.02)

    def _as_asked(self) -> None:
        """Not every end is violent."""
        self.serve()
        if self.dice.random() < 0.5:
            upgraded = self.d.jobctl("upgrade")
            assert upgraded.code == 0, upgraded
            self.upgrades += 1
        else:
            assert self.d.stop() == 0, self.d.stderr
            self.stops += 1

    # Moments.

    def _at_random(self) -> None:
        self.serve()
        pause(0.5 * self.dice.random())
        self._kill(Seen(serving=True))

    def _just_started(self) -> None:
        self.serve()
        pause(0.3 * self.dice.random())
        written = self.journal.written()
        watch(2.0, lambda: moments.just_started(next(written)))
        pause(self.dice.choice((0, 0.002)) * self.dice.random())
        self._kill(Seen(serving=True))

    def _in_compaction(self) -> None:
        """Either while the oldest segment is read, or when its jobs have been said again."""
        self.serve()
        written = self.journal.written()
        read_it = self.dice.random() < 0.5

        def begun() -> bool:
            self._litter()
            if read_it:
                return self.journal.read_by(self.d.pid) is not None
            return b'"type":"kept"' in next(written)

        watch(4.0, begun)
        pause(self.dice.choice((0, 0, 0.002, 0.01)) * self.dice.random())
        self._kill(Seen(serving=True, reading=self.journal.read_by(self.d.pid)))

    def _in_replay(self) -> None:
        """A new daemon dies before it serves."""
        if self.d.process is None or self.d.process.poll() is None:
            self.serve()
            self._kill(Seen(serving=True))
        self._choose_start()
        spawned = self.d.spawn()
        watch(5.0, lambda: self.journal.read_by(spawned.pid) is not None)
        pause(0.05 * self.dice.random())
        self._kill(Seen(serving=False, reading=self.journal.read_by(spawned.pid)))

    def _keeper_alone(self) -> None:
        """The daemon lives on, and has to find out what became of its attempts."""
        self.serve()
        pause(0.3 * self.dice.random())
        if self._kill_keeper():
            self.hits["keeper"] += 1
            pause(self.dice.choice((0, 0.02, 0.5)) * self.dice.random())

    def _keeper_and_daemon(self) -> None:
        self.serve()
        pause(0.3 * self.dice.random())
        first = self.dice.random() < 0.5
        between_s = self.dice.choice((0, 0.02)) * self.dice.random()
        if first and not self._kill_keeper():
            return
        if first:
            pause(between_s)
        self._end_daemon()
        if not first:
            pause(between_s)
        if first or self._kill_keeper():
            self.hits["keeper and daemon"] += 1
        else:
            self.hits["random"] += 1

    def _warm_alone(self) -> None:
        """Jobs that were forked from it, or are about to be, are none of its business."""
        self.serve()
        pause(0.3 * self.dice.random())
        warm = moments.warm_of(self.d.state_dir)
        if warm is None:
            return
        before_at = time.time()
        with contextlib.suppress(ProcessLookupError):
            os.kill(warm, signal.SIGKILL)
            self.hits["warm"] += 1
            self._note("warm", before_at)

    def _in_upgrade(self) -> None:
        """While the next program is rehearsed, has just taken over, or replays."""
        self.serve()
        before = self._starts()
        os.kill(self.d.pid, signal.SIGUSR2)
        pause(self.dice.random())
        killed_at = self._end_daemon()
        under_way = self._starts() == before
        seen = Seen(serving=True)
        hit = "upgrade" if under_way else moments.classify(self.journal, seen, killed_at)
        self.hits[hit] += 1

    # Deaths.

    def _kill(self, seen: Seen) -> None:
        """Of the daemon, and what it hit."""
        killed_at = self._end_daemon()
        if not seen.serving and self._starts():
            seen = Seen(serving=True)
        self.hits[moments.classify(self.journal, seen, killed_at)] += 1

    def _end_daemon(self) -> float:
        """The instant at which it was dead."""
        assert self.d.process is not None
        assert self.d.process.poll() is None, f"{self.d.process.returncode}: {self.d.stderr}"
        os.kill(self.d.pid, signal.SIGKILL)
        killed_at = time.time()
        self.d.process.wait()
        self.d.forget_peer()
        self._note("daemon", killed_at)
        self._since_service += 1
        return killed_at

    def _kill_keeper(self) -> bool:
        """Whether there was one, with attempts under it."""
        keeper = moments.keeper_of(self.d.state_dir)
        if keeper is None or not watch(2.0, lambda: moments.attempts_of(keeper) > 0):
            return False
        before_at = time.time()
        os.kill(keeper, signal.SIGKILL)
        self._note("keeper", before_at)
        return True

    def _note(self, what: str, killed_at: float) -> None:
        with open(self.ledger / "killed.jsonl", "a") as file:
            file.write(json.dumps({"what": what, "killed_at": killed_at}) + "\n")

    def _starts(self) -> int:
        """How often this daemon has said that it serves."""
        words = f" pid={self.d.pid} "
        return sum(" started " in line and words in line for line in self.d.log("jobd.log"))

    def _litter(self) -> None:
        """Asks for what makes compaction due, one load at a time."""
        assert self.load.stdout is not None
        if self._littering and self.load.stdout.readline() == "littered\n":
            self._littering = False
        if not self._littering:
            self._tell("garbage")
            self._littering = True

    # What is shown.

    def _show_progress(self) -> None:
        self._show_at += SHOW_EVERY
        lacking = ", ".join(f"{n} {self.hits[n]}/{self.wanted[n]}" for n in self.lacking)
        print(
            f"{self.hits.total()} kills, {self.ran} jobs, "
            f"journal {self.journal.size_bytes() / 1e6:.1f} MB; wanted: {lacking or 'no more'}",
            flush=True,
        )

    def table(self, took_s: float) -> str:
        rows = [("killed", "hits", "wanted")]
        for name, words in CLASSES.items():
            rows.append((words, str(self.hits[name]), str(self.wanted.get(name, ""))))
        rows.append(("kills", str(self.hits.total()), str(self.kills)))
        rows.append(("jobs that ran", str(self.ran), str(self.jobs_wanted)))
        rows += [(f"daemons with start = {s!r}", str(n), "") for s, n in self.lives.items()]
        rows.append(("stopped as asked, and started", str(self.stops), ""))
        rows.append(("upgraded as asked", str(self.upgrades), ""))
        lines = [f"{a:42}{b:>7}{c:>8}" for a, b, c in rows]
        return "\n".join([*lines, f"seed {self.seed}, {took_s:.0f} s, {os.cpu_count()} CPUs"])


def main() -> int:
    seed = int(os.environ.get("JOBD_CRASH_SEED") or random.SystemRandom().randrange(1 << 32))
    kills = int(os.environ.get("JOBD_CRASH_KILLS") or KILLS)
    print(f"JOBD_CRASH_SEED={seed} JOBD_CRASH_KILLS={kills}", flush=True)
    began = time.monotonic()
    campaign = Campaign(seed, kills)
    try:
        campaign.begin()
        campaign.storm()
        faults = campaign.end()
    except BaseException:
        campaign.abandon()
        raise
    print(campaign.table(time.monotonic() - began), flush=True)
    judge = [sys.executable, str(HERE / "judge.py"), str(campaign.ledger)]
    if subprocess.run(judge, check=False).returncode != 0:
        faults.append("the judge has found something")
    if faults:
        print("\n".join(faults))
        campaign.abandon()
        return 1
    campaign.d.close()
    shutil.rmtree(campaign.ledger)
    return 0


if __name__ == "__main__":
    sys.exit(main())
