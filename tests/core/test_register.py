"""Found by id, by stem, by prefix; listed newest first from any point."""

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core import ids
from jobd.core.job import Job, Policy
from jobd.core.register import Register

POLICY = Policy()


def job(number, request_id=None):
    stem = ids.stem("uid:1000", str(number) if request_id is None else request_id)
    return Job(
        id=ids.whole(stem, number), number=number, by="uid:1000", call=b"{}", policy=POLICY,
        submitted_at=0.0, run_at=0.0,
    )  # fmt: skip


def register(*numbers):
    found = Register()
    for number in numbers:
        found.add(job(number))
    return found


def numbers(jobs):
    return [job.number for job in jobs]


@given(
    st.sets(st.integers(1, 20_000), max_size=60), st.integers(0, 21_000), st.randoms(),
    st.sets(st.integers(1, 20_000), max_size=30),
)  # fmt: skip
def test_it_lists_newest_first_from_any_point_in_whatever_order_they_came(kept, before, dice, gone):
    shuffled = [*kept, *gone]
    dice.shuffle(shuffled)
    jobs = {number: job(number) for number in shuffled}
    found = Register()
    for each in jobs.values():
        found.add(each)
    for number in gone:
        found.remove(jobs[number])
    left = sorted(kept - gone, reverse=True)
    assert len(found) == len(left)
    assert sorted(numbers(found), reverse=True) == left
    assert numbers(found.newest()) == left
    assert numbers(found.newest(before)) == [number for number in left if number < before]


def test_only_the_whole_id_finds_a_job():
    found = register(7)
    [mine] = found
    assert found.get(mine.id) is mine
    assert found.get(mine.id[:-1]) is None
    assert found.get(mine.id[:12]) is None
    assert found.get(mine.id + "0") is None
    assert found.get("") is None


def test_an_id_of_a_forgotten_job_does_not_find_the_next_one_of_that_request():
    found = Register()
    first, second = job(1, "same"), job(2, "same")
    found.add(first)
    found.remove(first)
    found.add(second)
    assert found.of_stem(first.id[:12]) is second
    assert found.get(first.id) is None
    assert found.get(second.id) is second


@pytest.mark.parametrize("length", [4, 11, 12, 13, 15, 16])
def test_any_prefix_finds_its_job(length):
    found = register(*range(1, 50))
    for mine in found:
        assert mine in found.with_prefix(mine.id[:length], 10)


def test_a_prefix_that_goes_astray_finds_nothing():
    found = register(3)
    [mine] = found
    other = "0" if mine.id[-1] != "0" else "1"
    assert found.with_prefix(mine.id[:-1] + other, 10) == []
    assert found.with_prefix(mine.id + "0", 10) == []


def test_no_more_are_found_by_a_prefix_than_asked_for():
    found = register(*range(1, 200))
    beginnings = Counter(job.id[:2] for job in found)
    beginning, jobs = beginnings.most_common(1)[0]
    assert jobs > 1
    assert len(found.with_prefix(beginning, jobs + 1)) == jobs
    assert len(found.with_prefix(beginning, jobs - 1)) == jobs - 1


def test_what_was_forgotten_long_ago_costs_a_list_nothing():
    """Numbers go on for ever: ten million records later, two jobs are still two."""
    found = register(1, 10_000_000)
    count = 0

    def count_lines(frame, event, argument):
        nonlocal count
        count += event == "line"
        return count_lines

    before = sys.gettrace()
    sys.settrace(count_lines)
    try:
        listed = numbers(found.newest())
    finally:
        sys.settrace(before)
    assert listed == [10_000_000, 1]
    assert count < 100
