"""What a submission says."""

from __future__ import annotations

from collections import ChainMap, UserList
from datetime import UTC, datetime

import pytest

from jobd.client import calls
from jobd.errors import InvalidParams


class Report:
    class Nested:
        pass

    def handle(self):
        pass


def module_function():
    pass


def test_none_is_not_sent():
    params = calls.submission("app:f", None, retry_attempts=None, priority=3)
    assert set(params) == {"target", "priority"}


def test_a_request_id_is_made_for_each_and_the_caller_s_own_is_kept():
    made = [calls.once("submit", {"target": "app:f"})["request_id"] for _ in range(2)]
    assert all(made) and made[0] != made[1]
    assert calls.once("submit", {"request_id": "mine"}) == {"request_id": "mine"}


def test_in_a_batch_each_submission_has_a_request_id_of_its_own_also_for_null():
    given = [{"request_id": "mine"}, {"request_id": None}, {"target": "app:f"}]
    ids = [job["request_id"] for job in calls.once("submit_many", {"jobs": given})["jobs"]]
    assert ids[0] == "mine" and len(set(ids)) == 3 and all(ids)


@pytest.mark.parametrize("jobs", [None, 5, ["app:f"], {"target": "app:f"}])
def test_what_is_no_batch_is_left_for_the_daemon_to_refuse(jobs):
    assert calls.once("submit_many", {"jobs": jobs}) == {"jobs": jobs}


def test_other_calls_are_sent_as_they_are():
    assert calls.once("cancel", {"id": "a"}) == {"id": "a"}


def test_a_class_and_a_function_are_named_by_module_and_name():
    assert calls.target_name(Report) == f"{__name__}:Report"
    assert calls.target_name(module_function) == f"{__name__}:module_function"
    assert calls.target_name("app.jobs.Send") == "app.jobs.Send"


@pytest.mark.parametrize(
    ("target", "why"), [(Report.Nested, "nested"), (Report.handle, "nested"), (lambda: 1, "nested")]
)
def test_what_a_child_could_not_find_again_is_refused(target, why):
    with pytest.raises(InvalidParams, match=why) as refused:
        calls.target_name(target)
    assert refused.value.data["fields"][0]["field"] == "target"


def test_a_class_of_the_running_program_is_refused():
    local = type("Local", (), {"__module__": "__main__"})
    with pytest.raises(InvalidParams, match="__main__"):
        calls.target_name(local)


def test_an_instance_is_no_target():
    with pytest.raises(TypeError, match="a target is"):
        calls.target_name(Report())


@pytest.mark.parametrize("params", [{"a": 1}, ChainMap({"a": 1})])
def test_a_mapping_becomes_keyword_arguments(params):
    assert calls.submission("app:f", **calls.call_arguments(params))["kwargs"] == {"a": 1}


@pytest.mark.parametrize("params", [["a", 1], ("a", 1), UserList(["a", 1])])
def test_a_sequence_becomes_positional_arguments(params):
    assert calls.submission("app:f", **calls.call_arguments(params))["args"] == ["a", 1]


@pytest.mark.parametrize("params", ["text", b"text", bytearray(b"x"), {1, 2}, iter([1]), 5, None])
def test_a_string_or_what_is_neither_is_a_type_error(params):
    with pytest.raises(TypeError, match="params must be"):
        calls.call_arguments(params)


def test_no_arguments_are_not_sent():
    assert calls.call_arguments(()) == calls.call_arguments({}) == {}


def test_a_command_as_one_string_is_a_type_error():
    with pytest.raises(TypeError, match="command"):
        calls.submission(command="rm -rf /")


def test_keyword_arguments_need_names():
    with pytest.raises(TypeError, match="named by strings"):
        calls.submission("app:f", kwargs={1: 2})


def test_a_datetime_with_a_zone_is_an_instant_and_one_without_is_refused():
    at = datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert calls.submission("app:f", run_at=at)["run_at"] == "2026-01-31T08:00:00+00:00"
    assert calls.submission("app:f", run_at="whatever")["run_at"] == "whatever"
    with pytest.raises(InvalidParams, match="time zone"):
        calls.submission("app:f", run_at=at.replace(tzinfo=None))


def test_one_id_is_not_taken_for_its_letters():
    assert calls.id_list("abcd") == ["abcd"]
    assert calls.id_list(("abcd", "efgh")) == ["abcd", "efgh"]
