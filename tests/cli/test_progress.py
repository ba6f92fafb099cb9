"""`jobctl progress`: what a command can tell from inside its job."""

import json

import pytest

from jobd.cli.steering import parse_fraction
from jobd.errors import Conflict

JOB = "a" * 16


@pytest.fixture
def inside(daemon, monkeypatch):
    monkeypatch.setenv("JOBD_JOB_ID", JOB)
    return daemon


@pytest.mark.parametrize(
    ("text", "fraction"), [("0.4", 0.4), ("40%", 0.4), ("0", 0), ("1", 1), ("100%", 1), (".5", 0.5)]
)
def test_a_job_tells_its_own_progress(jobctl, inside, text, fraction):
    assert jobctl("progress", text) == (0, "", "")
    assert inside.asked() == ("progress", {"id": JOB, "fraction": fraction})


def test_a_message_goes_with_it(jobctl, inside):
    assert jobctl("progress", "0.4", "page 2 of 5") == (0, "", "")
    assert inside.asked()[1]["message"] == "page 2 of 5"


def test_another_job_is_named(jobctl, inside):
    jobctl("progress", "--id", "bbbb", "0.4")
    assert inside.asked()[1]["id"] == "bbbb"


def test_json_prints_the_answer(jobctl, inside):
    code, out, _ = jobctl("progress", "0.4", "--json")
    assert (code, json.loads(out)) == (0, {})


@pytest.mark.parametrize("text", ["40", "1.01", "101%", "nan", "inf", "%", "half", "", "-1"])
def test_what_is_no_fraction_is_refused_before_anybody_is_asked(jobctl, inside, text):
    code, _, err = jobctl("progress", "--", text) if text == "-1" else jobctl("progress", text)
    assert code == 2
    assert "neither a number from 0 to 1 nor a percentage" in err
    assert inside.connections == 0


def test_outside_a_job_it_says_what_is_missing(jobctl, daemon, monkeypatch):
    monkeypatch.delenv("JOBD_JOB_ID", raising=False)
    code, _, err = jobctl("progress", "0.4")
    assert code == 2
    assert "JOBD_JOB_ID" in err and "--id" in err


def test_a_refusal_has_its_exit_code(jobctl, inside):
    inside.on("progress", Conflict("job is completed"))
    assert jobctl("progress", "0.4")[0] == 6


def test_a_percentage_is_exact_enough():
    assert parse_fraction("33%") == 0.33
