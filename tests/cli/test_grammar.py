"""A call as one writes it in a shell, and the options that are fields."""

from __future__ import annotations

import argparse
import contextlib
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.cli import fields
from jobd.cli.arguments import UsageError
from jobd.cli.grammar import call_of
from jobd.core.fields import FIELDS, LIMITS


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["app:f"], {}),
        (["app:f", "a", "b c"], {"args": ["a", "b c"]}),
        (["app:f", "n:=5", "t=5"], {"kwargs": {"n": 5, "t": "5"}}),
        (["app:f", ':={"a": [1]}', "=x=y", ":=null"], {"args": [{"a": [1]}, "x=y", None]}),
        (["app:f", "handle"], {"args": ["handle"]}),
        (["app:f", "https://example.org/?a=b"], {"args": ["https://example.org/?a=b"]}),
        (["app:f", "text=a\nb=c"], {"kwargs": {"text": "a\nb=c"}}),
        (["app:f", "empty=", "="], {"kwargs": {"empty": ""}, "args": [""]}),
        (["app:Send"], {}),
        (["app:Send", "send_link", "x"], {"method": "send_link", "args": ["x"]}),
        (["app.Send", "send_link"], {"method": "send_link"}),
        (["app:Send", "user_id:=3"], {"kwargs": {"user_id": 3}}),
        (["app:Send", "two words"], {"args": ["two words"]}),
        (["app:Send", "42"], {"args": ["42"]}),
    ],
)
def test_words_become_a_call(words, call):
    assert call_of(words) == {"target": words[0], **call}


@pytest.mark.parametrize(
    ("word", "method"), [("app:Send@go", "go"), ("app:f@go", "go"), ("app:Send@", None)]
)
def test_a_method_after_an_at_always_works(word, method):
    assert call_of([word, "x"]) == {"target": word.split("@")[0], "method": method, "args": ["x"]}


@pytest.mark.parametrize("word", ["n:=", "n:=nan", ":=NaN", "n:={", "n:=" + "[" * 100_000])
def test_what_follows_the_json_sign_must_be_json(word):
    with pytest.raises(UsageError, match="no JSON"):
        call_of(["app:f", word])


def test_a_name_given_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        call_of(["app:f", "a=1", "a=2"])


def test_a_program_without_dashes_is_told_where_it_goes():
    with pytest.raises(UsageError, match="after `--`"):
        call_of(["/bin/true"])


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_any_words_are_a_call_or_wrong_usage(words):
    with contextlib.suppress(UsageError):
        assert call_of(words)["target"] is not None


def test_every_field_that_is_there_has_an_option_and_every_later_one_is_refused():
    by_position = {"target", "method", "args", "kwargs", "command"}
    now = {name for name, field in FIELDS.items() if not field.later} - by_position
    assert fields.NAMES | {"env", "limits"} == now
    assert set(LIMITS) == fields.LIMITS
    later = {name for name, field in FIELDS.items() if field.later}
    assert {flag.removeprefix("--").replace("-", "_") for flag in fields.LATER} == later


@pytest.mark.parametrize(
    ("text", "value"),
    [("fixed", "fixed"), ("1,5,30s", [1, 5, 30]), ("2m", [120]), ("[1, 2.5]", [1, 2.5])],
)
def test_a_backoff_is_a_shape_or_waits(text, value):
    assert fields.parse_backoff(text) == value


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("3", [3]),
        (
            "3, SIGSEGV,ValueError,app.errors:Fatal",
            [3, "SIGSEGV", "ValueError", "app.errors:Fatal"],
        ),
        ("none", []),
        ("-1", [-1]),
    ],
)
def test_ends_are_exit_codes_and_names(text, ends):
    assert fields.parse_ends(text) == ends


def test_a_signal_needs_no_prefix():
    assert fields.parse_signal("term") == fields.parse_signal("SIGTERM") == "SIGTERM"


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text, now, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: datetime.fromisoformat(now).timestamp())
    return fields.parse_at(text)


@pytest.mark.parametrize(
    ("now", "text", "instant"),
    [
        ("2026-01-31T08:00:00+01:00", "08:01", "2026-01-31T07:01:00.000000Z"),
        ("2026-01-31T08:00:00+01:00", "08:00", "2026-02-01T07:00:00.000000Z"),  # not now: next
        ("2026-12-31T23:00:00+01:00", "6:30", "2027-01-01T05:30:00.000000Z"),
        ("2026-03-28T12:00:00+01:00", "12:00", "2026-03-29T10:00:00.000000Z"),  # 23 hours later
        ("2026-01-31T08:00:00+01:00", "2026-05-01T00:00:00+02:00", "2026-04-30T22:00:00.000000Z"),
    ],
)
def test_at_is_an_instant_or_the_next_time_a_local_clock_shows_it(
    now, text, instant, berlin, monkeypatch
):
    assert at(text, now, monkeypatch) == instant


@pytest.mark.parametrize("text", ["25:00", "8", "2026-05-01T00:00:00", "tomorrow", "12:60"])
def test_at_refuses_what_is_neither(text):
    with pytest.raises(ValueError, match=r"RFC 3339 .* or a local HH:MM"):
        fields.parse_at(text)


def test_an_option_that_was_not_given_is_not_sent():
    parser = argparse.ArgumentParser()
    fields.field_options(parser)
    assert fields.given_fields(parser.parse_args([])) == {}
