"""Whatever is written reads back; whatever else there is, is refused as a bad line."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobd.core import job, records
from jobd.core.fields import DURATION_MAX_S
from jobd.core.ids import ALPHABET
from jobd.journal import forms
from jobd.journal.format import (
    HEADER_BYTES_MAX,
    Commit,
    Header,
    NewerVersion,
    decode,
    decode_header,
    encode,
    encode_header,
    sealed,
)  # fmt: skip
from jobd.journal.kinds import BadLine

numbers = st.floats(allow_nan=False, allow_infinity=False)
ordinals = st.integers(1, 2**63 - 1)
counts = st.integers(0, 2**63 - 1)
texts = st.text()
job_ids = st.text(ALPHABET, min_size=16, max_size=16)
whys = st.sampled_from(["cancelled", "timeout", "shutdown"])
kinds = st.sampled_from(["completed", "exception", "exit", "signal", "timeout", "interrupted"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
seconds = st.floats(0, DURATION_MAX_S)


def as_json(value) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def maybe(strategy):
    return st.none() | strategy


calls = st.dictionaries(texts, values, max_size=5).map(as_json)
results = values.map(as_json)
policies = st.builds(
    job.Policy,
    queue=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), priority=st.integers(1, 10),
    retry_attempts=st.integers(0, 1000), retry_delay=seconds,
    backoff=st.sampled_from(["fixed", "linear", "exponential"])
    | st.lists(seconds, min_size=1, max_size=3).map(tuple),
    retry_max_delay=seconds, retry_jitter=st.floats(0, 1),
    timeout=maybe(st.floats(0.001, DURATION_MAX_S)), kill_grace=seconds,
    stop_signal=st.sampled_from(["SIGTERM", "SIGINT"]),
    on_interrupt=st.sampled_from(["retry", "fail"]), cwd=maybe(texts),
)  # fmt: skip
failures = st.builds(
    job.Failure, kind=kinds, message=texts, exit_code=maybe(st.integers(-1, 2**32)),
    signal=maybe(texts), traceback=maybe(texts),
)  # fmt: skip
ends = st.builds(
    job.Ended, attempt=ordinals, pid=maybe(ordinals), started_at=numbers, finished_at=numbers,
    outcome=kinds, exit_code=maybe(st.integers(0, 255)), signal=maybe(texts),
    cpu_time=maybe(numbers), max_rss=maybe(counts), failure=maybe(failures),
)  # fmt: skip
runnings = st.builds(
    job.Running, number=ordinals, started_at=numbers, boot_id=texts, boot_at=numbers,
    stopping=maybe(whys), stop_boot_at=maybe(numbers), cancelled=st.booleans(),
    killed=st.booleans(),
)  # fmt: skip
histories = st.builds(
    job.History, first=st.lists(ends, max_size=2), last=st.lists(ends, max_size=2),
    finished_at=maybe(numbers), result=results, failure=maybe(failures),
)  # fmt: skip


def of(cls, **parts):
    return st.builds(cls, id=job_ids, at=numbers, **parts)


RECORDS = {
    records.Submitted: of(
        records.Submitted, by=texts, call=calls, policy=policies, run_at=numbers
    ),
    records.Started: of(records.Started, attempt=ordinals, boot_id=texts, boot_at=numbers),
    records.StopRequested: of(records.StopRequested, why=whys, boot_at=numbers),
    records.KillRequested: of(records.KillRequested),
    records.NeverRan: of(records.NeverRan, attempt=ordinals),
    records.Completed: of(records.Completed, ended=ends, result=results),
    records.Retried: of(records.Retried, ended=ends, run_at=numbers),
    records.Interrupted: of(
        records.Interrupted, ended=ends, run_at=numbers, counted=st.booleans()
    ),
    records.Failed: of(records.Failed, ended=maybe(ends), failure=failures),
    records.Cancelled: of(records.Cancelled, ended=maybe(ends)),
    records.RetryRequested: of(records.RetryRequested, run_at=numbers),
    records.Removed: of(records.Removed),
    records.Kept: of(
        records.Kept, number=ordinals, by=texts, call=calls, policy=policies,
        submitted_at=numbers, run_at=numbers, status=st.sampled_from(job.Status), attempt=counts,
        started_at=maybe(numbers), retries_left=counts, interruptions=counts,
        running=maybe(runnings), history=maybe(histories),
    ),
}  # fmt: skip
any_record = st.one_of(*RECORDS.values())


def test_every_sort_of_record_is_tried_here():
    assert set(RECORDS) == set(forms.TAGS) == set(records.Record.__args__)


@given(seq=st.integers(1, 2**60), commit=st.lists(any_record, min_size=1, max_size=4))
def test_a_commit_reads_back_as_it_was_written(seq, commit):
    line = encode(seq, commit)

    assert decode(line) == Commit(seq, commit)
    assert line.count(b"\n") == 1
    assert json.loads(line)["seq"] == seq  # a line is JSON for everybody


@given(call=calls)
def test_a_call_comes_back_byte_for_byte(make, call):
    assert decode(encode(1, [make.submitted(1, call)])).records[0].call == call


def test_only_what_differs_from_the_usual_policy_is_written(make):
    usual, other = make.submitted(1), make.submitted(2, priority=7)

    said = json.loads(encode(1, [usual, other]))["records"]

    assert "policy" not in said[0]
    assert said[1]["policy"] == {"priority": 7}


def test_jobs_with_equal_policies_share_one_in_memory(make):
    line = encode(1, [make.submitted(n, priority=7, backoff=(1.0, 2.0)) for n in (1, 2)])

    first, second = (
        record.policy for commit in (line, line) for record in decode(commit).records[:1]
    )

    assert first is second


def test_text_that_utf8_cannot_say_is_kept_too(make):
    record = replace(make.submitted(1), by="uid:\udcff")

    assert decode(encode(1, [record])).records == [record]


def test_a_result_that_could_not_be_read_again_is_not_written(make):
    for result in (b"NaN", b"1e999", b"{", b'"\xff"', b"[" * 5000 + b"]" * 5000):
        with pytest.raises(ValueError):
            encode(1, [make.completed(1, result)])


def test_a_result_on_several_lines_stays_one_commit(make):
    line = encode(1, [make.completed(1, b'{"a":\n 1}')])

    assert decode(line).records[0].result == b'{"a":1}'


def test_a_call_too_deep_for_the_next_start_is_not_written(make):
    deep = b'{"args":' + b"[" * 950 + b"]" * 950 + b"}"

    with pytest.raises(ValueError, match="deep"):
        encode(1, [make.submitted(1, deep)])


def test_a_line_cut_anywhere_is_a_bad_line(make):
    line = encode(3, [make.submitted(3), make.started(3)])

    for length in range(len(line)):
        with pytest.raises(BadLine):
            decode(line[:length])


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_a_line_with_any_byte_flipped_is_a_bad_line(make, bit):
    line = encode(3, [make.submitted(3), make.started(3)])

    for at in range(len(line)):
        flipped = bytearray(line)
        flipped[at] ^= bit
        with pytest.raises(BadLine):
            decode(bytes(flipped))


@given(st.binary(max_size=200))
def test_no_bytes_are_worse_than_a_bad_line(seal, noise):
    for line in (
        noise,
        seal(noise),
        seal(noise[:-1] + b"}"),
        seal(b'"seq":1,"records":' + noise + b"}"),
    ):
        for read in (decode, decode_header):
            with pytest.raises(BadLine):
                read(line)


@given(values)
def test_no_json_under_a_valid_checksum_is_worse_than_a_bad_line(seal, value):
    for rest in (
        b'"seq":1,"records":%b}' % as_json(value),
        b'"seq":1,"records":[%b]}' % as_json(value),
        b'"seq":%b,"records":[{"type":"removed","id":"0123456789abcdef","at":1}]}'
        % as_json([value]),
        b'"journal":"jobd","version":1,"first_seq":%b,"created_at":1}' % as_json([value]),
    ):
        for read in (decode, decode_header):
            with pytest.raises(BadLine):
                read(seal(rest))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), record=any_record)
def test_a_record_with_any_part_changed_is_read_or_refused_never_worse(seal, data, record):
    said = json.loads(forms.write(record))
    inner = data.draw(st.sampled_from([said, *(v for v in said.values() if type(v) is dict)]))
    where = data.draw(st.sampled_from([*inner, "unknown"]))
    inner[where] = data.draw(values)
    line = seal(b'"seq":1,"records":[%b]}' % as_json(said))

    try:
        commit = decode(line)
    except BadLine:
        return
    assert decode(encode(1, commit.records)) == commit


@pytest.mark.parametrize(
    "change",
    [
        {"at": True}, {"at": "1"}, {"at": None}, {"at": 10**400}, {"id": "0123"}, {"id": {}},
        {"id": "../../../etc/pass"}, {"type": "submit"}, {"type": []}, {"by": 1}, {"call": []},
        {"call": "x"}, {"policy": {"priority": 11}}, {"policy": {"priority": True}},
        {"policy": {"priority": 1.0}}, {"policy": {"queue": "a b"}}, {"policy": {"queue": "a\n"}},
        {"policy": {"backoff": []}}, {"policy": {"backoff": [-1]}}, {"policy": {"weight": 1}},
        {"policy": {"timeout": 0}}, {"policy": {"retry_delay": 1e12}}, {"policy": None},
        {"policy": {"stop_signal": "SIGNOT"}}, {"extra": 1},
    ],
)  # fmt: skip
def test_a_submission_with_a_wrong_value_is_refused(seal, make, change):
    said = {**json.loads(forms.write(make.submitted(1))), **change}

    with pytest.raises(BadLine):
        decode(seal(b'"seq":1,"records":[%b]}' % as_json(said)))


@pytest.mark.parametrize("name", ["id", "at", "by", "run_at", "call", "type"])
def test_a_submission_that_lacks_a_part_is_refused(seal, make, name):
    said = json.loads(forms.write(make.submitted(1)))
    del said[name]

    with pytest.raises(BadLine):
        decode(seal(b'"seq":1,"records":[%b]}' % as_json(said)))


@pytest.mark.parametrize(
    "rest",
    [
        b'"seq":1,"records":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'"seq":1,"records":[{"type":"removed","id":"0123456789abcdef","at":NaN}]}',
        b'"seq":1,"records":[{"type":"removed","id":"0123456789abcdef","at":1e999}]}',
        b'"seq":1,"records":[{"type":"removed","id":"0123456789abcdef","at":'
        + b"9" * 5000
        + b"}]}",
        b'"seq":0,"records":[{"type":"removed","id":"0123456789abcdef","at":1}]}',
        b'"seq":true,"records":[{"type":"removed","id":"0123456789abcdef","at":1}]}',
        b'"seq":1,"records":[{"id":"0123456789abcdef","type":"removed","at":1}]}',
        b'"seq":1,"records":[]}',
        b'"records":[],"seq":1}',
        b'"seq":1,"records":[],"more":1}',
        b'"seq":1,"records":["\xff"]}',
    ],
)
def test_what_no_jobd_writes_is_refused_under_a_valid_checksum(seal, rest):
    line = seal(rest)

    assert sealed(line)
    with pytest.raises(BadLine):
        decode(line)


def test_a_header_says_where_its_segment_begins():
    assert decode_header(encode_header(Header(17, 1763764800.5))) == Header(17, 1763764800.5)


@given(ordinals, numbers)
def test_no_header_is_longer_than_one_that_was_cut_short_may_be(first_seq, created_at):
    assert len(encode_header(Header(first_seq, created_at))) <= HEADER_BYTES_MAX


def test_a_newer_journal_is_told_apart_from_a_damaged_one(seal):
    with pytest.raises(NewerVersion, match="version 3"):
        decode_header(seal(b'"journal":"jobd","version":3,"segment":"of another shape"}'))


def test_the_jobs_that_a_line_begins_are_found_without_parsing(make):
    line = encode(1, [make.submitted(1), make.started(1), make.kept(2), make.removed(3)])

    assert forms.base_ids(line) == [make.id(1), make.id(2)]
