"""Durations and sizes as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.fields import DURATION_MAX_S
from jobd.durations import DURATION_MAX_S as MAX_S
from jobd.durations import parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("0", 0), (" 5 s ", 5),
     ("0.25", 0.25)],
)  # fmt: skip
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "-1", "1w", "1M", "1e3", "inf", "nan", "1 2", "1.", ".5", "٣s", "1m30s", "1d" * 50],
)
def test_what_is_no_duration_says_what_is(text):
    with pytest.raises(ValueError, match=r"write 90, 90s, 1\.5m, 2h or 1d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36526d", "9" * 400])
def test_no_duration_is_longer_than_100_years(text):
    with pytest.raises(ValueError, match="100 years"):
        parse_duration(text)
    assert parse_duration("36525d") == DURATION_MAX_S == MAX_S


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 2**20), ("64MiB", 2**26), ("64M", 2**26), ("64MB", 64_000_000),
     ("1.5GiB", 3 * 2**29),
     ("1k", 1024), ("2 tib", 2**41), ("7B", 7), ("9007199254740993", 9007199254740993)],
)  # fmt: skip
def test_a_size_is_a_number_and_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1Mi B", "1PiB", "1b/s", "9" * 30, "9" * 5000, "8388608T"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match=r"is no size|more than any disk"):
        parse_size(text)


@given(st.text(max_size=12))
def test_any_text_is_a_value_or_a_value_error(text):
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0
