"""Plants one bug at a time and demands that a test sees it: `python tests/mutants/run.py [NAME…]`.

For each mutant the sources and tests are copied to a temporary place, one text is replaced by
another, and the narrowest selection of tests is run there.  It must fail.  A mutant that
survives, or whose text is no longer in the source, fails the whole run.  All these tests are run
without any bug first: one that fails anyway proves nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from table import MUTANTS, SIMULATION, Mutant

ROOT = Path(__file__).parents[2]
TESTS_FAILED = 1  # pytest's exit code; 2 and more: it could not run them
LIMIT_S = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of names; all without")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = [m for m in MUTANTS if not options.names or any(n in m.name for n in options.names)]
    faults = [fault for mutant in chosen if (fault := stale(mutant)) is not None]
    for fault in faults:
        print(fault)
    if faults or not chosen:
        return 1
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        if not all(pool.map(healthy, selections(chosen))):
            return 1
        survivors = list(pool.map(tried, chosen)).count(False)
    verdict = f"{survivors} survived" if survivors else "each caught"
    print(f"{len(chosen)} mutants, {verdict}, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def selections(mutants: list[Mutant]) -> list[tuple[str, ...]]:
    """All their tests in two runs: the lives of the simulation take as long as all the others."""
    tests = {test for mutant in mutants for test in mutant.tests}
    parts = [tests.intersection(SIMULATION), tests.difference(SIMULATION)]
    return [tuple(sorted(part)) for part in parts if part]


def healthy(tests: tuple[str, ...]) -> bool:
    """Whether they pass without any bug."""
    code, output = run(tests)
    if code != 0:
        print(f"BROKEN    without any bug, pytest exit {code}\n{output}", flush=True)
    return code == 0


def stale(mutant: Mutant) -> str | None:
    """Why it can't be planted any more, or None."""
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    times = source.count(mutant.old)
    if times != 1:
        return f"STALE     {mutant.name}: its text is {times} times in {mutant.file}"
    compile(source.replace(mutant.old, mutant.new), mutant.file, "exec")
    return None


def tried(mutant: Mutant) -> bool:
    """Whether a test saw it."""
    began = time.monotonic()
    code, output = run(mutant.tests, mutant)
    took_s = time.monotonic() - began
    if code == TESTS_FAILED:
        print(f"caught    {mutant.name:48} {took_s:5.1f} s  {witness(output)}", flush=True)
        return True
    print(f"SURVIVED  {mutant.name} ({mutant.file}), pytest exit {code}\n{output}", flush=True)
    return False


def run(tests: tuple[str, ...], mutant: Mutant | None = None) -> tuple[int, str]:
    """pytest's exit code and output, in a copy with that bug."""
    with tempfile.TemporaryDirectory(prefix="jobd-mutant-") as place:
        copy = Path(place)
        litter = shutil.ignore_patterns("__pycache__", ".*")
        for folder in ("src", "tests"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=litter)
        for file in ("pyproject.toml", "jobd.toml"):
            if (ROOT / file).exists():
                shutil.copy(ROOT / file, copy / file)
        if mutant is not None:
            target = copy / mutant.file
            source = target.read_text(encoding="utf-8")
            target.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        return _pytest(copy, tests)


def _pytest(copy: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "JOBD_SEEDS": "100"}
    environment.pop("PYTHONPATH", None)  # the copy, and nothing but the copy
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-rfEs", "--tb=short",
        "-p", "no:cacheprovider", f"--basetemp={copy / 'tmp'}", *tests,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def witness(output: str) -> str:
    """The test that saw it."""
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    return failed[0].split(" - ")[0].removeprefix("FAILED ").split("::")[-1] if failed else ""


if __name__ == "__main__":
    raise SystemExit(main())
