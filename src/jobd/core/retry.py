"""Whether a job that failed is to be run again, and how long to wait before that."""

from __future__ import annotations

from jobd.core import ends
from jobd.core.fields import DURATION_MAX_S
from jobd.core.job import Ending, Kind, Policy


def is_pointless(policy: Policy, outcome: Kind, ending: Ending) -> bool:
    """Whether the attempt ended so that the job fails at once, whatever retries it has left.

    `outcome` names an end of its own: what was stopped may do better another time.
    """
    match outcome:
        case "unauthorized":
            return True
        case "exception" if ending.wish is not None:
            return ending.wish == "fail"
        case "exception":
            return ends.named(policy.no_retry_on, ending.mro)
        case "exit":
            return ending.exit_code in policy.no_retry_on
        case "signal":
            return ending.signal in policy.no_retry_on
        case _:
            return False


def wished_s(outcome: Kind, ending: Ending) -> float | None:
    """Seconds that the callable wants to wait before it is run again; None: as its policy says."""
    if outcome != "exception" or ending.wish != "retry" or ending.retry_after is None:
        return None
    return min(ending.retry_after, DURATION_MAX_S)


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
