"""A repair keeps all that is whole, makes nothing up, and can be stopped at any point."""

import itertools
import json
import os
from argparse import Namespace
from pathlib import Path

import pytest

from jobd.cli import repairing
from jobd.config import load
from jobd.core.engine import Engine
from jobd.core.lifecycle import snapshot
from jobd.core.rules import Rules
from jobd.errors import CannotStart, JournalDamaged, JournalFailed, StateLocked
from jobd.journal.recovery import Reading
from jobd.journal.repair import Examined
from jobd.journal.statedir import MARKER
from jobd.journal.store import Store

FLIP_STEP = int(os.environ.get("JOBD_FLIP_STEP", "5"))  # `make soak` flips every byte
RULES = Rules(max_running=4, max_interruptions=1)
NOW = 1763769000.0


def lay(state_dir, files):
    """A state directory with a journal of these lines, in place of what was there."""
    journal = state_dir / "journal"
    journal.mkdir(parents=True, exist_ok=True)
    (state_dir / MARKER).touch()
    for path in journal.iterdir():
        path.unlink()
    for name, lines in files.items():
        (journal / name).write_bytes(b"".join(lines))
    return state_dir


def contents(directory):
    """Of all files but the lock, whose content is the pid of who had it last."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def is_sound(state_dir):
    try:
        for _ in Reading(state_dir / "journal"):
            pass
    except JournalDamaged:
        return False
    return True


def jobs_of(state_dir):
    """As the next daemon will have them."""
    engine = Engine(RULES, boot_id="c")
    for _, commit in Reading(state_dir / "journal"):
        engine.replay(*commit)
    return {job.id: snapshot(job, 0.0) for job in engine.jobs}


def examine(state_dir):
    return Examined(state_dir / "journal", rules=RULES, now=NOW, boot=("c", 7.0))


def jobs_in(examined):
    """As a repair would write them."""
    return {job.id: snapshot(job, 0.0) for job in examined.jobs}


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """One whose state directory can be set."""
    path = tmp_path_factory.mktemp("config") / "jobd.toml"
    path.write_text('[journal]\nsegment_bytes = "64KiB"\n')
    return load(path)


@pytest.fixture
def repair(config, capsys):
    """Repairs; gives the document that it prints."""

    def run(state_dir, **options):
        object.__setattr__(config.daemon, "state_dir", state_dir)
        assert repairing.repair(Namespace(json=True), config, **options) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def damaged(life, state_dir):
    """A state directory whose journal has a bad byte in its middle."""
    files = life(3, 60).files(3)
    lines = files[sorted(files)[1]]
    lines[3] = lines[3].replace(b'"at":', b'"bt":')
    return lay(state_dir, files)


def ordinals(line):
    """Of the records in a whole line; of a header, none."""
    said = json.loads(line)
    return set(range(said["seq"], said["seq"] + len(said["records"]))) if "seq" in said else set()


def flips(files, step):
    """Journals with one byte flipped, and the ordinals that are lost by that.

    Not in the last line: nothing tells that from a torn end.
    """
    for name, lines in files.items():
        for n, line in enumerate(lines):
            if name == max(files) and n == len(lines) - 1:
                return
            for at in sorted({*range(n % step, len(line), step), len(line) - 1}):
                bit = (0x01, 0x40, 0x80)[at % 3]
                bad = line[:at] + bytes([line[at] ^ bit]) + line[at + 1 :]
                newline = at == len(line) - 1  # what it ended is whole all the same
                yield (
                    {**files, name: [*lines[:n], bad, *lines[n + 1 :]]},
                    set() if newline else ordinals(line),
                )


@pytest.mark.parametrize("part", range(4))  # one test would take long
def test_whatever_byte_is_flipped_all_that_is_whole_is_kept_and_nothing_made_up(
    life, state_dir, part
):
    one = life(1, 16)
    for files, lost in itertools.islice(flips(one.files(3), FLIP_STEP), part, None, 4):
        examined = examine(lay(state_dir, files))
        one.check(jobs_in(examined), lost)
        assert examined.losses
        assert examined.records == len(lost)
        assert examined.exact
        assert examined.fresh_seq > one.records[-1][0]


@pytest.mark.parametrize("seed", range(4))
def test_the_repaired_journal_is_what_the_next_daemon_reads(life, state_dirs, repair, seed):
    one = life(seed, 60)
    for files, lost in itertools.islice(flips(one.files(3), 97), seed, None, 4):
        state_dir = lay(state_dirs(), files)
        before = contents(state_dir / "journal")

        told = repair(state_dir)

        assert is_sound(state_dir)
        found = jobs_of(state_dir)
        one.check(found, lost)
        assert (told["records_lost"], told["jobs"]) == (len(lost), len(found))
        kept = Path(told["kept_at"])
        assert contents(kept) == before, "the old journal is kept as it was"
        names = {path.name for path in state_dir.iterdir()}
        assert names == {MARKER, "lock", "journal", kept.name}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_line_or_segment_is_missing_the_rest_is_kept(life, state_dir, seed):
    one = life(seed, 80)
    whole = one.files(4)
    for name, lines in whole.items():
        newest, oldest = name == max(whole), name == min(whole)
        for n in range(len(lines)):
            files = {**whole, name: [*lines[:n], *lines[n + 1 :]]}
            examined = examine(lay(state_dir, files))
            if not (newest and n == len(lines) - 1):  # its end is elsewhere, and nobody can tell
                one.check(jobs_in(examined), ordinals(lines[n]))
                assert examined.records == len(ordinals(lines[n]))
        lost = set().union(*map(ordinals, lines))
        examined = examine(lay(state_dir, {n: each for n, each in whole.items() if n != name}))
        if not newest:
            one.check(jobs_in(examined), lost)
            # An oldest one may have been compacted away, as far as ordinals tell.
            assert examined.records == (0 if oldest else len(lost))


def test_a_second_repair_finds_nothing_to_do(damaged, repair):
    repair(damaged)
    before = contents(damaged)

    assert repair(damaged) == {"repaired": False, "sound": True}
    assert contents(damaged) == before


def test_a_torn_end_is_nothing_to_repair(life, state_dir, repair):
    files = life(3, 60).files(3)
    files[max(files)][-1] = files[max(files)][-1][:-10]
    before = contents(lay(state_dir, files))

    assert not repair(state_dir)["repaired"]
    assert contents(state_dir) == before


def test_damage_and_a_torn_end_are_told_apart(life, state_dir):
    files = life(3, 60).files(3)
    files[min(files)][1] = b"#" + files[min(files)][1][1:]
    files[max(files)][-1] = files[max(files)][-1][:-10]

    examined = examine(lay(state_dir, files))

    [loss] = examined.losses
    assert (loss.place.line, loss.place.path.name) == (2, min(files))
    assert examined.torn.size_bytes == len(files[max(files)][-1])


def test_two_places_are_two_losses_each_with_its_ordinals(life, state_dir):
    one = life(3, 60)
    files = one.files(3)
    (first, second), expected = sorted(files)[:2], []
    for name, n in ((first, 2), (second, 3), (second, 4)):
        line = files[name][n]
        expected.append(sorted(ordinals(line)))
        files[name][n] = line.replace(b'"at":', b'"bt":')

    losses = examine(lay(state_dir, files)).losses

    assert [(loss.place.line, loss.first_seq, loss.records) for loss in losses] == [
        (3, expected[0][0], len(expected[0])),
        (4, expected[1][0], len(expected[1]) + len(expected[2])),
    ]
    whole = one.files(3)[second]
    assert losses[1].place.offset == sum(map(len, whole[:3]))
    assert losses[1].size_bytes == len(whole[3]) + len(whole[4])


def test_a_segment_under_another_name_loses_nothing(life, state_dir, repair):
    one = life(3, 60)
    lay(state_dir, one.files(3))
    oldest = min((state_dir / "journal").iterdir())
    oldest.rename(oldest.with_name(f"{10**19:020d}.jsonl"))

    assert repair(state_dir)["records_lost"] == 0
    one.check(jobs_of(state_dir), set())


def test_a_sealed_end_that_makes_no_sense_may_have_been_any_number_of_records(
    life, state_dir, seal, repair
):
    one = life(3, 60)
    files = one.files(3)
    files[max(files)].append(seal(b'"seq":9999,"records":[{"type":"of tomorrow"}]}'))

    told = repair(lay(state_dir, files))

    assert (told["exact"], told["damage"][0]["records"]) == (False, None)
    one.check(jobs_of(state_dir), set())


def test_of_a_journal_of_which_nothing_can_be_read_that_is_told(state_dir, repair):
    lay(state_dir, {f"{1:020d}.jsonl": [bytes(1000)]})

    told = repair(state_dir)

    assert (told["repaired"], told["jobs"], told["exact"]) == (True, 0, False)
    assert is_sound(state_dir)


def test_a_newer_journal_is_refused_and_left_alone(life, state_dir, seal, repair):
    files = life(3, 60).files(3)
    files[min(files)][1] = b"#" + files[min(files)][1][1:]  # however damaged it is elsewhere
    files[max(files)][0] = seal(b'"journal":"jobd","version":3,"first_seq":1}')
    before = contents(lay(state_dir, files))

    with pytest.raises(CannotStart, match="newer jobd") as refusal:
        repair(state_dir)

    assert refusal.value.exit_code == 100
    assert contents(state_dir) == before


def test_while_a_daemon_serves_there_is_no_repair(damaged, repair, open_store):
    store = open_store(damaged, read=False)  # it has the lock
    before = contents(damaged)

    with pytest.raises(StateLocked) as refusal:
        repair(damaged)

    assert refusal.value.exit_code == 111
    assert contents(damaged) == before
    store.close()


def test_large_journals_are_written_in_several_segments(life, state_dir, make, repair, config):
    call = b'{"command":["%b"]}' % (b"x" * 1000)
    files = {f"{1:020d}.jsonl": []}
    make.segment(state_dir / "journal", 1, *([make.submitted(n, call=call)] for n in range(1, 501)))
    files = {
        path.name: path.read_bytes().splitlines(True) for path in (state_dir / "journal").iterdir()
    }
    files[f"{1:020d}.jsonl"][250] = b"\n"
    lay(state_dir, files)

    assert repair(state_dir)["jobs"] == 499

    assert len(list((state_dir / "journal").iterdir())) == 3  # 200 jobs a commit, 64 KiB a file
    assert len(jobs_of(state_dir)) == 499


# Stopped half way.


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, no clean-up either."""


def killing(disk):
    """The disk of a process that is killed at its `fail_at`-th operation."""
    failing = disk._do

    def do(what, name):
        if disk.killed:
            raise Killed
        try:
            failing(what, name)
        except OSError:
            disk.killed = True
            raise Killed from None

    disk.killed, disk._do = False, do
    return disk


@pytest.mark.parametrize("disk_of", [lambda disk: disk, killing], ids=["fails", "is killed"])
def test_a_repair_that_stops_anywhere_leaves_a_refusal_or_a_whole_journal_never_an_empty_one(
    life, state_dirs, disks, repair, disk_of
):
    one = life(3, 60)
    files = one.files(3)
    lines = files[sorted(files)[1]]
    lost = ordinals(lines[3])
    lines[3] = lines[3].replace(b'"at":', b'"bt":')
    for fail_at in itertools.count():
        state_dir = lay(state_dirs(), files)
        disk = disk_of(disks())
        disk.fail_at = fail_at
        try:
            repair(state_dir, files=disk)
            break
        except (JournalFailed, Killed):
            pass
        try:
            starts(state_dir)
        except CannotStart as refusal:
            assert refusal.exit_code == 100
            assert repair(state_dir)["repaired"]
        starts(state_dir)
        one.check(jobs_of(state_dir), lost)
        names = {path.name.partition(".damaged")[0] for path in state_dir.iterdir()}
        assert names - {"journal.new", "journal.part"} == {MARKER, "lock", "journal"}
    assert fail_at > 10


def starts(state_dir):
    """As a daemon does.  CannotStart, and nothing was changed."""
    before = contents(state_dir)
    store = Store.open(state_dir, fsync="always", interval_s=1.0, segment_bytes=1 << 16)
    try:
        for _ in store.recovered:
            pass
    except CannotStart:
        assert contents(state_dir) == before
        raise
    finally:
        store.close()


@pytest.mark.parametrize("left", ["journal.new", "journal.damaged-20251122T000000Z"])
def test_no_daemon_begins_an_empty_journal_where_a_repair_was_not_finished(
    damaged, open_store, repair, left
):
    found = jobs_in(examine(damaged))
    if left == "journal.new":
        repair(damaged)
    (damaged / "journal").rename(damaged / left)
    before = contents(damaged)

    with pytest.raises(CannotStart, match="`jobd journal repair`") as refusal:
        open_store(damaged)
    assert refusal.value.exit_code == 100
    assert contents(damaged) == before

    assert repair(damaged)["repaired"]
    assert jobs_of(damaged).keys() == found.keys()


def test_a_new_journal_that_was_never_whole_is_not_taken(damaged, repair):
    (damaged / "journal.part").mkdir()
    (damaged / "journal.part" / f"{1:020d}.jsonl").write_bytes(b'{"crc":"')

    repair(damaged)

    assert not (damaged / "journal.part").exists()
    assert is_sound(damaged)
