"""Ends that a policy names: exit codes, signals, exceptions."""

import pytest

from jobd.core import ends
from jobd.core.fields import FIELDS


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (3, 3),
        ("SIGSEGV", "SIGSEGV"),
        ("ValueError", "ValueError"),
        ("app.errors:Permanent", "app.errors:Permanent"),
        ("app.errors.Permanent", "app.errors:Permanent"),
        ("app.errors:Outer.Inner", "app.errors:Outer.Inner"),
        # Other names of the same class: what it calls itself is what a job tells.
        ("IOError", "OSError"),
        ("builtins:EnvironmentError", "OSError"),
        ("builtins.ValueError", "ValueError"),
        ("builtins:OfAnotherPython", "OfAnotherPython"),
    ],
)
def test_a_name_is_kept_in_the_form_in_which_it_is_compared(given, stored):
    assert ends.fault(given) is None
    assert ends.stored(given) == stored
    assert FIELDS["no_retry_on"].fault([stored]) is None
    assert ends.stored(stored) == stored


@pytest.mark.parametrize("end", ["SIGNONE", "Permanent", "len", "print", "sigterm", "SIGTERN"])
def test_a_bare_name_that_is_neither_signal_nor_built_in_exception_is_refused(end):
    assert end in ends.fault(end)


def test_an_exception_is_named_by_any_class_that_it_is_a_kind_of():
    mro = ("app.errors.Outer.Inner", "LookupError", "Exception", "BaseException")
    for end in ("app.errors:Outer.Inner", "LookupError", "Exception", "BaseException"):
        assert ends.named((end,), mro)
    for end in ("app.errors:Outer", "KeyError", "errors:Outer.Inner", 1):
        assert not ends.named((end,), mro)
    assert not ends.named((), mro)
    assert not ends.named(("Exception",), ())
