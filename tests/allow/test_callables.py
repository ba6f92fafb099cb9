"""What `[allow.callables]` admits, and every trick that it must not fall for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.core.allow import Admitted, AllowList, Refused, callable_fault, colon_form


def admitted(verdict: Admitted | Refused) -> bool:
    return isinstance(verdict, Admitted)


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("app.jobs:SendWelcomeEmail", "handle"),
        ("app.jobs:SendPasswordResetEmail", "send_reset_link"),
        ("app.jobs:rebuild_index", None),
        ("app.jobs:_secretly_listed", "_run"),  # somebody wrote that out
        ("app.open:Anything", "handle"),
        ("app.open:Anything", None),
        ("app.tools:Anything", "whatever"),
        ("app.tools:function", None),
        ("app.functions:function", None),
        ("app.services.mail:Send", "handle"),
        ("app.services.mail.smtp.transport:connect", None),
    ],
)
def test_what_is_listed_is_admitted(callables: AllowList, target: str, method: str | None) -> None:
    assert admitted(callables.callable(target, method))


@pytest.mark.parametrize(
    ("target", "method"),
    [
        # not listed at all
        ("os:system", None),
        ("app.jobs:Other", "handle"),
        ("app:jobs", None),
        ("other.app.jobs:rebuild_index", None),
        # listed, but not with that method
        ("app.jobs:SendWelcomeEmail", "send_reset_link"),
        ("app.jobs:SendWelcomeEmail", None),
        ("app.jobs:SendWelcomeEmail", "__init__"),
        ("app.jobs:rebuild_index", "__call__"),
        ("app.jobs:_secretly_listed", "_other"),
        ("app.functions:function", "method"),
        # parts count whole
        ("app.job:rebuild_index", None),
        ("app.jobs2:rebuild_index", None),
        ("app.jobs:rebuild_index2", None),
        ("app.jobs:rebuild", None),
        ("app.servicesx.mail:Send", "handle"),
        ("app.tools.more:Anything", None),
        # below app.services, not in it
        ("app.services:Send", "handle"),
        # case and look-alikes
        ("app.jobs:Rebuild_Index", None),
        ("APP.jobs:rebuild_index", None),
        ("app.jobs:rebuild_ind\u0435x", None),  # a Cyrillic ie
        ("app.tools:\uff3fprivate", None),  # a full-width low line, which NFKC makes a `_`
        ("app.tools:\ufb01le", None),  # a ligature, which NFKC makes `file`
        ("app.open:Anything", "\uff3f_class__"),
        # attribute walks
        ("app.tools:Thing.__globals__", None),
        ("app.tools:Thing.method", None),
        ("app.tools:os.system", None),
        ("app.open:Anything", "handle.__globals__"),
        ("app.open:Anything", "handle.__func__"),
        # a wildcard admits nothing private, wherever it stands
        ("app.tools:_private", None),
        ("app.tools:__builtins__", None),
        ("app.tools:__loader__", "load_module"),
        ("app.tools:Thing", "_private"),
        ("app.tools:Thing", "__init__"),
        ("app.tools:Thing", "__class__"),
        ("app.open:Anything", "__init__"),
        ("app.services._private:Send", "handle"),
        ("app.services._vendored.mail:Send", "handle"),
        ("app.services.mail.__main__:main", None),
        ("__main__:main", None),
        # no identifiers
        ("app.jobs:rebuild_index ", None),
        (" app.jobs:rebuild_index", None),
        ("app.jobs:rebuild_index.", None),
        ("app.jobs.:rebuild_index", None),
        (".app.jobs:rebuild_index", None),
        ("app..jobs:rebuild_index", None),
        ("app.services..mail:Send", None),
        ("app.services.:Send", None),
        ("app.services.mail/../../os:system", None),
        ("app.tools:*", None),
        ("app.services.*:Send", None),
        ("app.tools:", None),
        (":rebuild_index", None),
        ("", None),
        ("app.jobs.rebuild_index", None),
        ("app.tools:a:b", None),
        ("app.tools:a\nb", None),
        ("app.tools:a\0", None),
        ("app.tools:\ud800", None),
        ("app.open:Anything", ""),
        ("app.open:Anything", "*"),
        ("app.open:Anything", "a b"),
    ],
)
def test_what_is_not_listed_is_refused(
    callables: AllowList, target: str, method: str | None
) -> None:
    verdict = callables.callable(target, method)
    assert isinstance(verdict, Refused)
    assert verdict.why


def test_a_list_that_is_empty_admits_nothing() -> None:
    assert not admitted(AllowList().callable("app.jobs:rebuild_index", None))


def test_the_child_is_told_what_only_it_can_check(callables: AllowList) -> None:
    exact = callables.callable("app.jobs:SendWelcomeEmail", "handle")
    assert exact == Admitted(None, exact=True, function_only=False)
    by_wildcard = callables.callable("app.tools:Anything", None)
    assert by_wildcard == Admitted(None, exact=False, function_only=False)
    a_function = callables.callable("app.jobs:rebuild_index", None)
    assert a_function == Admitted(None, exact=True, function_only=True)
    functions = callables.callable("app.functions:anything", None)
    assert functions == Admitted(None, exact=False, function_only=True)


def test_of_several_entries_the_one_that_admits_more_counts() -> None:
    both = AllowList({"app.jobs:Send": [], "app.jobs:*": ["*"]})
    assert both.callable("app.jobs:Send", None) == Admitted(None, exact=False)
    assert admitted(both.callable("app.jobs:Send", "handle"))


def test_a_private_place_counts_when_it_is_written_out() -> None:
    listed = AllowList({"app._internal:*": ["*"], "app._more.*": ["*"]})
    assert admitted(listed.callable("app._internal:run", None))
    assert admitted(listed.callable("app._more.deep:run", None))
    assert not admitted(listed.callable("app._more._deeper:run", None))
    # Importing it would run a program, whoever lists it.
    assert not admitted(AllowList({"app.__main__:*": ["*"]}).callable("app.__main__:main", None))


def test_the_dotted_form_is_the_colon_form() -> None:
    assert colon_form("app.jobs.rebuild") == "app.jobs:rebuild"
    assert colon_form("app.jobs:rebuild") == "app.jobs:rebuild"
    assert colon_form("app.services.*") == "app.services.*"
    assert admitted(AllowList({"app.jobs.rebuild": []}).callable("app.jobs:rebuild", None))


@pytest.mark.parametrize(
    "pattern",
    ["*", "*:*", "*.jobs:X", "app.*:X", "app.*.jobs:X", "app:Na*", ".*", "app..*", "app.**", "x",
     "", ":", "app:", ":X", "app jobs:X", "app.jobs:X.y", "__main__:X", "__main__.*", "app:a.*",
     "app.jobs:X:Y", "\ufb01le:X"],
)  # fmt: skip
def test_an_entry_that_means_nothing_is_a_fault(pattern: str) -> None:
    assert callable_fault(pattern, []) is not None


@pytest.mark.parametrize("method", ["", "a.b", "han*", "a b", "a\n", "1"])
def test_a_method_that_is_no_name_is_a_fault(method: str) -> None:
    assert "no method's name" in (callable_fault("app.jobs:X", ["ok", method]) or "")


@given(st.text(max_size=40), st.none() | st.text(max_size=10))
def test_no_text_whatever_gets_past_the_form(target: str, method: str | None) -> None:
    everything = AllowList({"app.*": ["*"], "app:*": ["*"]})
    verdict = everything.callable(target, method)
    if isinstance(verdict, Admitted):
        module, _, name = target.partition(":")
        assert module == "app" or module.startswith("app.")
        assert name.isidentifier()
        assert not name.startswith("_")
