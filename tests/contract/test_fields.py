"""What a submission says: each field does what the contract says it does."""

from __future__ import annotations

import time

import pytest
from outside.waiting import epoch, until

covers = pytest.mark.covers


@covers("field:target", "method:submit")
def test_a_callable_is_called_and_its_return_value_is_the_result(shared):
    done = shared.run(target="jobs:echo", args=[1, "two"], kwargs={"three": None})
    assert done["status"] == "completed"
    assert done["result"] == {"args": [1, "two"], "kwargs": {"three": None}}


@covers("field:target")
def test_a_dotted_target_is_stored_in_the_colon_form(shared):
    done = shared.run(target="jobs.echo")
    assert (done["status"], done["target"]) == ("completed", "jobs:echo")


@covers("field:target")
@pytest.mark.parametrize(
    "target",
    ["", "jobs", "jobs:", ":echo", "jobs:a.b", "jobs:a:b", "jobs:echo()", "1:x", "a..b:c", "a b:c"],
)
def test_a_target_that_is_none_is_refused(shared, target):
    refused = shared.refusal("submit", target=target)
    assert refused.code == -32602
    assert refused.fields == {"target"}


@covers("field:target", "field:command")
def test_exactly_one_of_target_and_command_is_taken(shared):
    assert shared.refusal("submit").code == -32602
    assert shared.refusal("submit", target="jobs:echo", command=["/bin/true"]).code == -32602


@covers("field:method")
def test_the_method_is_handle_where_the_name_is_a_class_and_none_elsewhere(shared):
    of_class = shared.run(target="jobs:Mailer", args=["a"], kwargs={"b": 1})
    assert of_class["method"] == "handle"
    assert of_class["result"] == ["handle", True, ["a"], {"b": 1}]
    assert shared.run(target="jobs:echo")["method"] is None


@covers("field:method")
@pytest.mark.parametrize(
    ("method", "args", "result"),
    [
        ("send", ["x"], ["send", "x"]),
        ("slowly", ["x"], ["slowly", "x"]),
        ("fixed", ["x"], ["static", "x"]),
        ("of", ["x"], ["Mailer", "x"]),
    ],
)
def test_a_method_is_called_as_what_it_is(shared, method, args, result):
    assert shared.run(target="jobs:Mailer", method=method, args=args)["result"] == result


@covers("field:method")
def test_method_null_calls_the_target_itself(shared):
    done = shared.run(target="jobs:Mailer", method=None)
    # The instance is no JSON, and that is how it is known that the class was called.
    assert done["method"] is None
    assert done["failure"]["kind"] == "exception"
    assert "Mailer" in done["failure"]["message"]


@covers("field:method")
def test_a_class_that_needs_arguments_fails(shared):
    done = shared.run(target="jobs:Needy")
    assert (done["status"], done["failure"]["kind"]) == ("failed", "exception")
    assert "TypeError" in done["failure"]["message"]


@covers("field:method", "field:args", "field:kwargs")
def test_what_is_for_callables_is_refused_with_a_command(shared):
    refused = shared.refusal("submit", command=["/bin/true"], method="x", args=[1], kwargs={"a": 1})
    assert refused.fields >= {"method", "args", "kwargs"}


@covers("field:args")
def test_args_arrive_as_json_gave_them(shared):
    args = [None, True, 1, 2.5, "ü\n\t", [1, [2]], {"k": {"n": []}}, -(2**53), "𝄞"]
    done = shared.run(target="jobs:echo", args=args)
    assert done["result"]["args"] == args
    assert done["args"] == args


@covers("field:kwargs")
def test_kwargs_arrive_as_json_gave_them(shared):
    kwargs = {"a": [1], "ü": None, "self": {"x": 1.25}}
    done = shared.run(target="jobs:echo", kwargs=kwargs)
    assert done["result"]["kwargs"] == kwargs
    assert done["kwargs"] == kwargs


@covers("field:args")
def test_arguments_go_neither_by_argv_nor_by_environment(shared):
    gate = shared.gate()
    id = shared.submit(target="jobs:wait_for", args=[str(gate.path)])
    import psutil

    process = psutil.Process(shared.pid_of(id))
    until(lambda: any(str(shared.app) not in word for word in process.cmdline()))
    assert not any(str(gate.path) in word for word in process.cmdline())
    assert not any(str(gate.path) in value for value in process.environ().values())
    gate.open()
    assert shared.final(id)["result"] == "waited"


@covers("field:command")
def test_a_command_runs_without_a_shell(shared):
    done = shared.run(command=["/bin/echo", "$HOME", "*", "a b", ";", ""])
    assert done["status"] == "completed"
    assert done["command"] == ["/bin/echo", "$HOME", "*", "a b", ";", ""]
    assert shared.out(done["id"]) == "$HOME * a b ; \n"


@covers("field:command", "config:env.set")
def test_a_bare_name_is_looked_up_in_the_configs_path_at_each_start(jobd):
    d = jobd()
    own = d.home / "bin"
    own.mkdir()
    d.write_config({"env": {"set": {"PATH": f"{own}:/usr/bin:/bin"}}})
    d.call("reload")
    first = d.run(command=["greet"])
    assert first["failure"]["kind"] == "spawn"
    program = own / "greet"
    program.write_text("#!/bin/sh\necho hello from here\n")
    program.chmod(0o755)
    d.call("retry", id=first["id"])
    assert d.final(first["id"])["status"] == "completed"
    assert d.out(first["id"]) == "hello from here\n"


@covers("field:command")
@pytest.mark.parametrize(
    "command",
    [[], [""], ["bin/true"], ["./true"], ["../true"], "true", [1], ["/bin/true", None], ["/a\0b"]],
)
def test_a_command_that_is_none_is_refused(shared, command):
    refused = shared.refusal("submit", command=command)
    assert refused.code == -32602
    assert any(field.startswith("command") for field in refused.fields)


@covers("field:queue")
def test_a_queue_is_made_by_first_use(shared):
    done = shared.run(command=["/bin/true"], queue="fresh.Queue_1-x")
    assert done["queue"] == "fresh.Queue_1-x"
    assert shared.run(command=["/bin/true"])["queue"] == "default"


@covers("field:queue")
@pytest.mark.parametrize("queue", ["", "a b", "ü", "a/b", "x" * 65, "a\n", None, 1])
def test_a_queue_by_another_kind_of_name_is_refused(shared, queue):
    refused = shared.refusal("submit", command=["/bin/true"], queue=queue)
    assert (refused.code, refused.fields) == (-32602, {"queue"})


@covers("field:priority")
@pytest.mark.parametrize("priority", [0, 11, -1, 1.0, 1.5, True, "5", None, [1]])
def test_a_priority_is_an_integer_from_1_to_10(shared, priority):
    assert shared.run(command=["/bin/true"])["priority"] == 1
    refused = shared.refusal("submit", command=["/bin/true"], priority=priority)
    assert (refused.code, refused.fields) == (-32602, {"priority"})


@covers("field:delay")
def test_a_delayed_job_starts_no_earlier_than_its_delay(shared):
    done = shared.run(command=["/bin/true"], delay=0.2)
    assert epoch(done["run_at"]) - epoch(done["submitted_at"]) == pytest.approx(0.2, abs=1e-3)
    assert epoch(done["started_at"]) >= epoch(done["run_at"])


@covers("field:delay")
def test_a_delayed_job_is_pending_until_then(shared):
    id = shared.submit(command=["/bin/true"], delay=3600)
    assert shared.status(id)["status"] == "pending"
    assert shared.call("cancel", id=id)["status"] == "cancelled"


@covers("field:delay")
@pytest.mark.parametrize("delay", [-1, True, "5", None, 3_155_760_001])
def test_a_delay_is_a_number_of_seconds_up_to_100_years(shared, delay):
    refused = shared.refusal("submit", command=["/bin/true"], delay=delay)
    assert (refused.code, refused.fields) == (-32602, {"delay"})


@covers("field:run_at")
def test_run_at_is_the_earliest_start_in_any_offset(shared):
    at = time.time() + 0.25
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at + 2 * 3600))
    text += f"{at % 1:.6f}"[1:] + "+02:00"
    done = shared.run(command=["/bin/true"], run_at=text)
    assert epoch(done["run_at"]) == pytest.approx(at, abs=1e-5)
    assert done["run_at"].endswith("Z")
    assert epoch(done["started_at"]) >= epoch(done["run_at"])


@covers("field:run_at")
def test_run_at_in_the_past_is_now(shared):
    done = shared.run(command=["/bin/true"], run_at="2001-02-03T04:05:06Z")
    assert done["status"] == "completed"
    assert done["run_at"] == "2001-02-03T04:05:06.000000Z"


@covers("field:run_at")
@pytest.mark.parametrize(
    "run_at",
    ["2030-01-01", "2030-01-01T00:00:00", "tomorrow", "", 1893456000, None,
     "2030-02-30T00:00:00Z", "2030-01-01T25:00:00Z"],
)  # fmt: skip
def test_run_at_is_rfc_3339_with_an_offset(shared, run_at):
    refused = shared.refusal("submit", command=["/bin/true"], run_at=run_at)
    assert (refused.code, refused.fields) == (-32602, {"run_at"})


@covers("field:run_at", "field:delay")
def test_delay_and_run_at_exclude_one_another(shared):
    refused = shared.refusal(
        "submit", command=["/bin/true"], delay=1, run_at="2030-01-01T00:00:00Z"
    )
    assert refused.code == -32602


@covers("field:label", "option:list --status")
def test_a_label_is_what_lists_show(shared):
    id = shared.submit(command=["/bin/true"], label="Nightly ü", queue="labelled", delay=3600)
    assert shared.status(id)["label"] == "Nightly ü"
    assert "Nightly ü" in shared.jobctl("list", "--queue", "labelled", "--status", "pending").out
    shared.call("cancel", id=id)


@covers("field:label")
@pytest.mark.parametrize("label", ["x" * 256, 1, ["a"], "a\0b"])
def test_a_label_is_a_string_of_at_most_255(shared, label):
    assert shared.refusal("submit", command=["/bin/true"], label=label).fields == {"label"}


@covers("field:tags", "param:list.tag")
def test_tags_are_for_listing(shared):
    tagged = shared.run(command=["/bin/true"], tags=["red", "größer"])
    shared.run(command=["/bin/true"], tags=["reddish"])
    assert tagged["tags"] == ["red", "größer"]
    for tag in ("red", "größer"):
        found = shared.call("list", tag=tag)["jobs"]
        assert tagged["id"] in {job["id"] for job in found}
        assert all(tag in job["tags"] for job in found)


@covers("field:tags")
@pytest.mark.parametrize("tags", ["red", [1], [None], {}, None])
def test_tags_are_strings(shared, tags):
    refused = shared.refusal("submit", command=["/bin/true"], tags=tags)
    assert all(field.startswith("tags") for field in refused.fields)


@covers("field:env")
def test_env_is_added_to_the_environment_and_its_values_are_never_shown(shared):
    done = shared.run(command=["/usr/bin/env"], env={"COLOUR": "s3cret", "EMPTY": ""})
    lines = shared.out(done["id"]).splitlines()
    assert "COLOUR=s3cret" in lines
    assert "EMPTY=" in lines
    assert sorted(done["env"]) == ["COLOUR", "EMPTY"]
    assert "s3cret" not in str(done)
    assert "s3cret" not in shared.jobctl("status", done["id"]).out
    assert not any("s3cret" in line for line in shared.log())


@covers("field:env")
@pytest.mark.parametrize(
    "env",
    [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0"}, {"A": 1}, {"A": None}, ["A"], "A=B"],
)
def test_an_environment_that_can_not_be_is_refused(shared, env):
    refused = shared.refusal("submit", command=["/bin/true"], env=env)
    assert refused.code == -32602
    assert all(field.startswith("env") for field in refused.fields)


@covers("field:cwd")
def test_cwd_is_where_the_job_runs(shared):
    done = shared.run(command=["/bin/pwd"], cwd=str(shared.app))
    assert done["cwd"] == str(shared.app)
    assert shared.out(done["id"]).strip() == str(shared.app)


@covers("field:cwd")
def test_a_bad_cwd_is_a_failure_to_spawn(shared):
    done = shared.run(command=["/bin/pwd"], cwd="/nowhere/at/all")
    assert (done["status"], done["failure"]["kind"]) == ("failed", "spawn")
    assert "/nowhere/at/all" in done["failure"]["message"]


@covers("field:cwd")
@pytest.mark.parametrize("cwd", ["here", "./x", "", "/a\0b", 1])
def test_a_cwd_is_an_absolute_path(shared, cwd):
    assert shared.refusal("submit", command=["/bin/pwd"], cwd=cwd).fields == {"cwd"}


@covers("field:request_id")
def test_the_same_request_id_finds_the_same_job(shared):
    fields = {"command": ["/bin/true"], "request_id": "order 66 ü", "priority": 2}
    first = shared.call("submit", **fields)
    shared.final(first["id"])
    second = shared.call("submit", **fields)
    assert first["duplicate"] is False
    assert second == {"id": first["id"], "status": "completed", "duplicate": True}


@covers("field:request_id", "error:-32003")
def test_other_content_under_the_same_request_id_is_a_conflict(shared):
    shared.submit(command=["/bin/true"], request_id="taken")
    for other in ({"command": ["/bin/false"]}, {"command": ["/bin/true"], "priority": 5}):
        refused = shared.refusal("submit", request_id="taken", **other)
        assert (refused.code, refused.data["type"]) == (-32003, "conflict")


@covers("field:request_id")
def test_once_its_job_is_removed_a_request_id_is_free_again(shared):
    first = shared.run(command=["/bin/true"], request_id="again")
    shared.call("remove", id=first["id"])
    second = shared.call("submit", command=["/bin/true"], request_id="again")
    assert second["duplicate"] is False
    assert second["id"] != first["id"], "ids are never reused"


@covers("field:request_id")
@pytest.mark.parametrize("request_id", ["x" * 256, 1, ["a"]])
def test_a_request_id_is_a_string_of_at_most_255(shared, request_id):
    refused = shared.refusal("submit", command=["/bin/true"], request_id=request_id)
    assert refused.fields == {"request_id"}


LATER_FIELDS = [
    pytest.param("expires", 5, marks=covers("field:expires")),
    pytest.param("key", "k", marks=covers("field:key")),
    pytest.param("if_exists", "reject", marks=covers("field:if_exists")),
    pytest.param("after", [], marks=covers("field:after")),
    pytest.param("weight", 1, marks=covers("field:weight")),
]


@pytest.mark.parametrize(("field", "value"), LATER_FIELDS)
def test_a_field_that_comes_later_is_refused_and_says_so(shared, field, value):
    for given in (value, None):
        refused = shared.refusal("submit", command=["/bin/true"], **{field: given})
        assert refused.code == -32602
        [fault] = refused.data["fields"]
        assert fault["field"] == field
        assert "later" in fault["message"]


@covers("error:-32602")
def test_an_error_lists_every_bad_field(shared):
    refused = shared.refusal(
        "submit", command=["/bin/true"], priority=True, delay="5", timeout=0, colour="red", key="k",
        retry_attempts=1001, queue="a b",
    )  # fmt: skip
    assert refused.data["type"] == "invalid_params"
    assert refused.fields == {
        "priority", "delay", "timeout", "colour", "key", "retry_attempts", "queue",
    }  # fmt: skip
    assert all(set(fault) == {"field", "message"} for fault in refused.data["fields"])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 400])
@pytest.mark.parametrize("field", ["delay", "priority", "args"])
def test_a_number_beyond_a_double_is_refused(shared, peer, number, field):
    value = f"[{number}]" if field == "args" else number
    answer = peer.exchange(
        b'{"jsonrpc":"2.0","id":1,"method":"submit","params":{"target":"jobs:echo","%s":%s}}'
        % (field.encode(), value.encode())
    )
    assert answer["error"]["code"] in (-32700, -32602)
    assert shared.call("ping")["name"] == "jobd"
