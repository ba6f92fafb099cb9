"""A torn end is cut off, with a warning; any other fault stops the start and changes nothing."""

import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.errors import CannotStart, JournalDamaged
from jobd.journal.format import Header, encode, encode_header
from jobd.journal.recovery import Reading
from jobd.journal.statedir import MARKER
from jobd.journal.store import DIRECTORY


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def journal(state_dir):
    """The journal's directory in a state directory that is jobd's."""
    state_dir.mkdir()
    (state_dir / MARKER).touch()
    directory = state_dir / DIRECTORY
    directory.mkdir()
    return directory


@pytest.fixture
def lines(make):
    """A segment of four commits, as its lines."""
    commits = [[make.submitted(1), make.submitted(2)], [make.started(1)], [make.completed(1)]]
    return [
        encode_header(Header(1, 1.0)),
        encode(1, commits[0]), encode(3, commits[1]), encode(4, commits[2]),
        encode(5, [make.removed(1)]),
    ]  # fmt: skip


def read(directory):
    """All records, and the torn end if there is one."""
    reading = Reading(directory)
    return [record for _, commit in reading for record in commit.records], reading.torn


def test_a_journal_cut_at_any_byte_keeps_every_commit_that_is_whole(journal, lines):
    whole = b"".join(lines)
    ends = [len(b"".join(lines[:n])) for n in range(1, len(lines) + 1)]
    path = journal / f"{1:020d}.jsonl"

    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        records, torn = read(journal)

        kept = sum(end <= length for end in ends[1:])
        assert len(records) == [0, 2, 3, 4, 5][kept]
        assert (torn is None) == (length in ends)


@pytest.mark.parametrize("bit", [0x01, 0x40])
def test_a_flipped_byte_anywhere_is_damage_unless_it_looks_like_a_torn_end(journal, lines, bit):
    whole = b"".join(lines)
    last = len(whole) - len(lines[-1])
    path = journal / f"{1:020d}.jsonl"

    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= bit
        path.write_bytes(flipped)
        if at >= last:  # the last commit: nothing tells this from a write cut short
            records, torn = read(journal)
            assert len(records) == 4
            assert torn.place.offset == last
        else:
            with pytest.raises(JournalDamaged) as damage:
                read(journal)
            line = whole.count(b"\n", 0, at) + 1
            assert damage.value.line == line
            assert damage.value.offset == len(b"".join(lines[: line - 1]))


def test_a_torn_end_is_cut_off_with_a_warning_and_the_journal_goes_on(
    journal, lines, make, open_store, caplog
):
    path = journal / f"{1:020d}.jsonl"
    path.write_bytes(b"".join(lines) + encode(6, [make.started(2)])[:40])

    with caplog.at_level(logging.WARNING):
        store = open_store(journal.parent)

    assert len(store.past) == 5
    assert store.next_seq == 6
    assert path.read_bytes() == b"".join(lines)
    assert "journal_cut" in caplog.text
    assert "line=6" in caplog.text


def test_zeros_at_the_end_are_a_torn_end(journal, lines):
    """What some file systems leave of a write that a power cut met."""
    (journal / f"{1:020d}.jsonl").write_bytes(b"".join(lines) + bytes(5000))

    assert len(read(journal)[0]) == 5


def test_damage_stops_the_start_and_changes_nothing(journal, lines, open_store):
    lines[2] = lines[2].replace(b"started", b"stopped")
    (journal / f"{1:020d}.jsonl").write_bytes(b"".join(lines))
    before = contents(journal)

    with pytest.raises(JournalDamaged, match=r"jsonl:3 \(byte \d+\)") as damage:
        open_store(journal.parent)

    assert damage.value.exit_code == 100
    assert contents(journal) == before


def test_a_last_line_that_is_whole_but_makes_no_sense_is_no_torn_end(journal, lines, seal):
    """Its checksum is right, so somebody was answered: it must not be dropped."""
    lines.append(seal(b'"seq":6,"records":[{"type":"of tomorrow"}]}'))
    (journal / f"{1:020d}.jsonl").write_bytes(b"".join(lines))

    with pytest.raises(JournalDamaged, match="of tomorrow"):
        read(journal)


def test_a_commit_that_is_missing_is_damage(journal, lines):
    del lines[2]
    (journal / f"{1:020d}.jsonl").write_bytes(b"".join(lines))

    with pytest.raises(JournalDamaged, match="record 4 follows where 3 is due"):
        read(journal)


def test_a_commit_that_comes_twice_is_damage(journal, lines):
    lines.insert(2, lines[1])
    (journal / f"{1:020d}.jsonl").write_bytes(b"".join(lines))

    with pytest.raises(JournalDamaged, match="record 1 follows where 3 is due"):
        read(journal)


def test_a_missing_segment_is_damage(journal, make):
    for n in (1, 2, 3):
        make.segment(journal, n, [make.submitted(n)])
    (journal / f"{2:020d}.jsonl").unlink()

    with pytest.raises(JournalDamaged, match="records 2 to 2 are missing"):
        read(journal)


def test_a_torn_end_in_an_older_segment_is_damage(journal, make):
    path = make.segment(journal, 1, [make.submitted(1)])
    make.segment(journal, 2, [make.submitted(2)])
    path.write_bytes(path.read_bytes() + b'{"crc":"')

    with pytest.raises(JournalDamaged, match="a later segment exists"):
        read(journal)


def test_a_segment_under_another_name_is_damage(journal, make):
    make.segment(journal, 1, [make.submitted(1)]).rename(journal / f"{7:020d}.jsonl")

    with pytest.raises(JournalDamaged, match="its name says 7, its header 1"):
        read(journal)


def test_a_new_segment_whose_header_was_cut_short_never_came_to_be(journal, make, open_store):
    make.segment(journal, 1, [make.submitted(1)])
    fresh = journal / f"{2:020d}.jsonl"
    header = encode_header(Header(2, 1.0))

    for length in range(len(header)):
        fresh.write_bytes(header[:length])
        store = open_store(journal.parent)
        assert store.past == [make.submitted(1)]
        assert not fresh.exists()
        store.close()


def test_a_new_segment_without_commits_is_gone_on_with(journal, make, open_store):
    make.segment(journal, 1, [make.submitted(1)])
    make.segment(journal, 2)

    store = open_store(journal.parent)

    assert store.next_seq == 2
    assert store.stats()["segments"] == 2


def test_the_very_first_header_cut_short_begins_the_journal_anew(journal, open_store):
    (journal / f"{1:020d}.jsonl").write_bytes(b'{"crc"')

    assert open_store(journal.parent).next_seq == 1


def test_a_torn_header_with_nothing_before_it_is_damage_where_there_must_be_more(journal):
    (journal / f"{500:020d}.jsonl").write_bytes(b'{"crc"')

    with pytest.raises(JournalDamaged, match="nowhere"):
        read(journal)


def test_a_journal_of_which_nothing_can_be_read_is_no_torn_header(journal, lines, open_store):
    """A header is on the disk before anything is written behind it."""
    path = journal / f"{1:020d}.jsonl"
    path.write_bytes(bytes(len(b"".join(lines))))

    with pytest.raises(JournalDamaged, match="longer than a header"):
        open_store(journal.parent)
    assert path.exists()


def test_a_journal_of_a_newer_jobd_is_refused_as_such(journal, open_store, seal):
    path = journal / f"{1:020d}.jsonl"
    path.write_bytes(seal(b'"journal":"jobd","version":3,"first_seq":1}'))
    before = path.read_bytes()

    with pytest.raises(CannotStart, match="newer jobd") as refusal:
        open_store(journal.parent)

    assert not isinstance(refusal.value, JournalDamaged)
    assert refusal.value.exit_code == 100
    assert path.read_bytes() == before


def test_files_with_other_names_are_left_alone(journal, make, open_store):
    make.segment(journal, 1, [make.submitted(1)])
    (journal / "00000000000000000001.jsonl.bak").write_bytes(b"mine")

    assert len(open_store(journal.parent).past) == 1
    assert (journal / "00000000000000000001.jsonl.bak").read_bytes() == b"mine"


def test_a_job_whose_beginning_was_compacted_away_must_be_said_again(journal, make):
    make.segment(journal, 5, [make.started(1)], [make.kept(1), make.completed(1)])

    assert len(read(journal)[0]) == 3


def test_a_job_whose_beginning_was_compacted_away_may_have_been_removed(journal, make):
    make.segment(journal, 5, [make.completed(1)], [make.removed(1)])

    assert len(read(journal)[0]) == 2


def test_a_job_whose_beginning_is_nowhere_is_damage(journal, make):
    make.segment(journal, 5, [make.kept(2)], [make.started(1)])

    with pytest.raises(JournalDamaged, match=make.id(1)) as damage:
        read(journal)
    assert damage.value.line == 3


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["running", "completed", "kept", "started", "removed", "0123456789ab0001"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)  # fmt: skip


def parts(said):
    """Every object and array in it, the whole included."""
    if type(said) in (dict, list):
        yield said
        for inner in said.values() if type(said) is dict else said:
            yield from parts(inner)


def says(read, written):
    """What was read is what is written; what has its usual value may be left out."""
    if type(read) is dict:
        return type(written) is dict and all(
            key in written and says(value, written[key]) for key, value in read.items()
        )
    if type(read) is list:
        return type(written) is list and len(read) == len(written) and all(map(says, read, written))
    return read == written


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_whatever_a_valid_checksum_covers_is_read_as_it_says_or_refused(
    life, state_dirs, seal, data
):
    """No other exception, and no other meaning."""
    [(name, lines)] = life(3, 40).files(1).items()
    n = data.draw(st.integers(0, len(lines) - 1))
    said = json.loads(lines[n])
    del said["crc"]
    where = data.draw(st.sampled_from(list(parts(said))))
    keys = [*where, "more"] if type(where) is dict else list(range(len(where)))
    key = data.draw(st.sampled_from(keys))
    if data.draw(st.booleans()) or key == "more":
        where[key] = data.draw(values)
    else:
        del where[key]
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=data.draw(st.booleans()))
    directory = state_dirs()
    directory.mkdir()
    rest = text[1:].encode(errors="surrogatepass")
    (directory / name).write_bytes(b"".join([*lines[:n], seal(rest), *lines[n + 1 :]]))

    try:
        commits = [commit for _, commit in Reading(directory)]
    except JournalDamaged as damage:
        assert damage.line in (n + 1, n + 2)
    except CannotStart as newer:
        assert "newer jobd" in str(newer)
        assert n == 0
    else:
        if n > 0:
            read = json.loads(encode(*commits[n - 1]))
            assert says(read, {**said, "crc": read["crc"]})
