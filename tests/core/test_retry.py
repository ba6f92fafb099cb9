"""How long to wait before the next attempt, by each kind of backoff."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.fields import DURATION_MAX_S
from jobd.core.job import Policy
from jobd.core.retry import delay_s


def waits(jitter=0.0, failures=range(1, 6), **policy):
    return [delay_s(Policy(**policy), n, jitter) for n in failures]


def test_fixed_waits_are_all_alike():
    assert waits(retry_delay=5.0, backoff="fixed") == [5, 5, 5, 5, 5]


def test_linear_waits_grow_by_the_delay():
    assert waits(retry_delay=5.0, backoff="linear") == [5, 10, 15, 20, 25]


def test_exponential_waits_double():
    assert waits(retry_delay=5.0, backoff="exponential") == [5, 10, 20, 40, 80]


def test_the_last_of_listed_waits_repeats():
    assert waits(backoff=(1.0, 7.0, 3.0)) == [1, 7, 3, 3, 3]


@pytest.mark.parametrize("backoff", ["fixed", "linear", "exponential", (100.0, 1000.0)])
def test_no_wait_is_longer_than_retry_max_delay(backoff):
    capped = waits(retry_delay=40.0, backoff=backoff, retry_max_delay=60.0)
    assert max(capped) <= 60
    assert capped[-1] == (40 if backoff == "fixed" else 60)


def test_jitter_adds_up_to_its_fraction_of_the_wait_and_never_takes_away():
    assert waits(0.0, [1], retry_delay=10.0, retry_jitter=0.5) == [10]
    assert waits(0.5, [1], retry_delay=10.0, retry_jitter=0.5) == [12.5]
    assert waits(0.5, [1], retry_delay=10.0, retry_jitter=0.0) == [10]


@given(
    failures=st.integers(1, 1001),
    jitter=st.floats(0, 1, exclude_max=True),
    retry_delay=st.floats(0, DURATION_MAX_S),
    retry_max_delay=st.floats(0, DURATION_MAX_S),
    retry_jitter=st.floats(0, 1),
    backoff=st.one_of(
        st.sampled_from(["fixed", "linear", "exponential"]),
        st.lists(st.floats(0, DURATION_MAX_S), min_size=1, max_size=4).map(tuple),
    ),
)
def test_whatever_the_policy_a_wait_is_a_duration(failures, jitter, **policy):
    assert 0 <= delay_s(Policy(**policy), failures, jitter) <= DURATION_MAX_S
