"""How long to wait before the next attempt."""

from __future__ import annotations

from jobd.core.fields import DURATION_MAX_S
from jobd.core.job import Policy


def delay_s(policy: Policy, failures: int, jitter: float) -> float:
    """Seconds to wait after the `failures`-th failure, the jitter included.

    `jitter` is a number in [0, 1), drawn by the caller: it adds up to `retry_jitter` of the
    wait, so that jobs which failed together do not come back together.
    """
    assert failures >= 1
    assert 0.0 <= jitter < 1.0
    wait = min(_wait_s(policy, failures), policy.retry_max_delay)
    return min(wait * (1.0 + policy.retry_jitter * jitter), DURATION_MAX_S)


def _wait_s(policy: Policy, failures: int) -> float:
    match policy.backoff:
        case "fixed":
            return policy.retry_delay
        case "linear":
            return policy.retry_delay * failures
        case "exponential":
            # Bounded before the power: 2.0 ** 1100 is an OverflowError.
            return policy.retry_delay * 2.0 ** min(failures - 1, 64)
        case waits:
            assert not isinstance(waits, str)
            return waits[min(failures, len(waits)) - 1]
