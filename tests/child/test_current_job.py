"""What a job sees of itself, where jobd is installed and where it is not."""

import sys

import pytest

BARE = sys._base_executable  # whatever is installed beside jobd's tests is not there

ENV = {"JOBD_JOB_ID": "abc", "JOBD_ATTEMPT": "2", "JOBD_DEADLINE": "12.5"}
SOURCE = """
def f():
    from jobd import current_job
    return [current_job.id, current_job.attempt, current_job.deadline, bool(current_job)]
"""


def test_a_job_knows_itself_without_jobd_installed(call, python):
    assert call(SOURCE, python=python, env=ENV).result == {"ok": ["abc", 2, 12.5, True]}


def test_outside_a_job_there_is_nothing_to_know(call):
    assert call(SOURCE, python=BARE).result == {"ok": [None, None, None, False]}


def test_an_installed_jobd_is_preferred(call):
    files = {"jobd.py": "current_job = None\nmine = True"}
    ran = call("def f():\n import jobd\n return jobd.mine", files=files)
    assert ran.result == {"ok": True}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("from jobd import Client", "not installed"),
        ("from jobd import nonsense", "nonsense"),
        ("import jobd.client", "jobd"),
    ],
)
def test_what_is_not_there_says_so(call, code, says):
    told = call(f"def f():\n {code}", python=BARE).result["exception"]
    assert says in told["message"]
