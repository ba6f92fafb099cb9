"""What a job asks for by what it raises, where jobd is installed and where it is not."""

import pickle
import sys
from datetime import timedelta

import pytest

from jobd import Cancelled, Fail, Retry

BARE = sys._base_executable  # whatever is installed beside jobd's tests is not there

either = pytest.mark.parametrize("bare", [False, True], ids=["installed", "lent"])


def exception(call, code, **options):
    return call(f"def f():\n {code}", **options).result["exception"]


@either
@pytest.mark.parametrize(
    ("code", "wish"),
    [
        ("raise jobd.Retry", {"retry": None}),
        ("raise jobd.Retry()", {"retry": None}),
        ("raise jobd.Retry(after=60)", {"retry": 60.0}),
        ("raise jobd.Retry(0.5, 'no licence is free')", {"retry": 0.5}),
        ("import datetime; raise jobd.Retry(after=datetime.timedelta(minutes=1))", {"retry": 60.0}),
        ("raise jobd.Fail('no such user')", {"fail": True}),
        ("raise type('Mine', (jobd.Fail,), {})", {"fail": True}),
    ],
)
def test_the_result_says_what_the_job_asks_for(call, bare, code, wish):
    told = exception(call, f"import jobd; {code}", python=BARE if bare else sys.executable)
    assert told["wish"] == wish


def test_a_lent_jobd_has_wishes_in_every_python(call, python):
    told = exception(call, "from jobd import Retry; raise Retry(after=3)", python=python)
    assert told["wish"] == {"retry": 3.0}


@either
def test_a_wish_is_an_exception_with_the_public_name(call, bare):
    python = BARE if bare else sys.executable
    told = exception(call, "import jobd; raise jobd.Fail('no such user')", python=python)
    assert (told["type"], told["message"]) == ("jobd.Fail", "no such user")
    assert told["mro"] == ["jobd.Fail", "Exception", "BaseException"]


def test_another_exception_asks_for_nothing(call):
    assert "wish" not in exception(call, "import jobd; raise ValueError")
    assert "wish" not in exception(call, "class Retry(Exception): after = 3\n raise Retry")


def test_a_module_of_the_jobs_own_called_jobd_asks_for_nothing(call):
    files = {"jobd.py": "class Retry(Exception): after = 3"}
    assert "wish" not in exception(call, "import jobd; raise jobd.Retry", files=files)


@pytest.mark.parametrize(
    ("after", "error"),
    [
        (-1, ValueError), (1e11, ValueError), (float("nan"), ValueError),
        (float("inf"), ValueError), (timedelta(-1), ValueError),
        ("60", TypeError), (True, TypeError), ([1], TypeError),
    ],
)  # fmt: skip
def test_a_wait_that_is_none_is_refused_where_it_is_written(after, error):
    with pytest.raises(error, match="after"):
        Retry(after=after)


def test_a_retry_says_why():
    assert str(Retry()) == "asks to be run again"
    assert str(Retry(after=90)) == "asks to be run again after 90 s"
    assert str(Retry(90, "no licence is free")) == "no licence is free"


@pytest.mark.parametrize("wish", [Retry(after=2, message="busy"), Retry(), Fail("no")])
def test_wishes_come_back_from_a_process_pool(wish):
    back = pickle.loads(pickle.dumps(wish))
    assert (type(back), back.args, str(back)) == (type(wish), wish.args, str(wish))
    assert getattr(back, "after", None) == getattr(wish, "after", None)


def test_a_cancel_is_not_swallowed_by_except_exception():
    assert not issubclass(Cancelled, Exception)
