"""`jobctl allow` and `disallow`: the config is edited, kept as it was otherwise, and followed."""

from __future__ import annotations

import os

import pytest
import tomlkit

covers = pytest.mark.covers

COMMENTED = """# the top
[daemon]
socket   = "{socket}"   # here it listens
state_dir = "{state}"
log_dir = "{logs}"

[python]
path = ["{app}"]

[allow]  # careful
commands = [
    "/bin/echo",   # harmless
]

[allow.callables]
# functions
"jobs:nothing" = []

# the bottom
"""


@pytest.fixture
def listed(installation):
    d = installation()
    d.config_path.write_text(COMMENTED.format(
        socket=d.socket, state=d.state_dir, logs=d.log_dir, app=d.app,
    ))  # fmt: skip
    d.config_path.chmod(0o640)
    return d.start()


def allow_table(d):
    return tomlkit.parse(d.config_path.read_text()).unwrap()["allow"]


@covers("jobctl:allow", "jobctl:disallow", "option:allow --json", "option:disallow --json")
def test_a_callable_is_allowed_and_disallowed_at_once_and_comments_stay(listed):
    before = listed.config_path.read_text()
    assert listed.refusal("submit", target="jobs:Mailer", method="send").code == -32001
    ran = listed.jobctl("allow", "jobs:Mailer", "send", "fixed")
    assert ran.code == 0, ran
    assert allow_table(listed)["callables"]["jobs:Mailer"] == ["send", "fixed"]
    done = listed.run(target="jobs:Mailer", method="send", args=["x"])
    assert done["result"] == ["send", "x"]
    after = listed.config_path.read_text()
    for line in filter(str.strip, before.splitlines()):
        assert line in after, "comments and layout are kept"
    assert os.stat(listed.config_path).st_mode & 0o777 == 0o640

    answer = listed.jobctl("disallow", "jobs:Mailer", "send", "--json").json
    assert answer["changed"]
    assert allow_table(listed)["callables"]["jobs:Mailer"] == ["fixed"]
    assert listed.refusal("submit", target="jobs:Mailer", method="send").code == -32001
    assert listed.jobctl("disallow", "jobs:Mailer").code == 0
    assert "jobs:Mailer" not in allow_table(listed)["callables"]
    assert listed.config_path.read_text() == before
    assert listed.jobctl("allow", "jobs:nothing", "--json").json == {"changed": [], "restart": []}


@covers("jobctl:allow", "jobctl:disallow")
def test_a_program_and_a_wildcard(listed):
    assert listed.jobctl("allow", "/bin/cat").code == 0
    assert allow_table(listed)["commands"] == ["/bin/echo", "/bin/cat"]
    assert listed.run(command=["/bin/cat"])["status"] == "completed"
    assert listed.jobctl("disallow", "/bin/echo").code == 0
    assert allow_table(listed)["commands"] == ["/bin/cat"]
    assert listed.refusal("submit", command=["/bin/echo"]).code == -32001
    assert listed.jobctl("allow", "jobs:*", "*").code == 0
    assert listed.run(target="jobs:echo")["status"] == "completed"


@covers("jobctl:allow", "exit:jobctl 2")
@pytest.mark.parametrize("target", ["nonsense", "a:b:c", "bin/true", "jobs:a b", "/bin/../bin/cat"])
def test_what_can_not_be_allowed_leaves_the_file_alone(listed, target):
    before = listed.config_path.read_bytes()
    ran = listed.jobctl("allow", target)
    assert ran.code in (2, 7)
    assert ran.err
    assert listed.config_path.read_bytes() == before


@covers("option:allow --config", "option:disallow --config")
def test_another_file_is_edited_without_the_daemon(installation):
    d = installation()
    other = d.scratch("other.toml")
    other.write_text("# mine\n")
    assert d.jobctl("allow", "app.jobs:Send", "handle", "--config", str(other)).code == 0
    table = tomlkit.parse(other.read_text()).unwrap()["allow"]["callables"]
    assert table == {"app.jobs:Send": ["handle"]}
    assert "# mine" in other.read_text()
    assert d.jobctl("disallow", "app.jobs:Send", "--config", str(other)).code == 0
    assert not tomlkit.parse(other.read_text()).unwrap().get("allow", {}).get("callables")


@covers("jobctl:allow", "exit:jobctl 3")
def test_without_a_daemon_and_without_a_file_nothing_is_edited(installation):
    d = installation()
    assert d.jobctl("allow", "app:f").code == 3


def test_a_link_to_the_config_stays_a_link(installation):
    d = installation()
    real = d.home / "real.toml"
    d.config_path.rename(real)
    d.config_path.symlink_to(real)
    d.start()
    assert d.jobctl("allow", "more:f").code == 0
    assert d.config_path.is_symlink()
    assert "more:f" in real.read_text()
