"""A JSON-RPC client that was not written here finds its way."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

covers = pytest.mark.covers

# In a process of its own: it brings threads, an event loop and warnings of its own.
SCRIPT = """
import json, sys
from web3 import IPCProvider
provider = IPCProvider(sys.argv[1], timeout=30)
job = provider.make_request("submit", {"target": "jobs:echo", "args": [1, "two"]})
done = provider.make_request("wait", {"ids": [job["result"]["id"]], "timeout": 30})
bad = provider.make_request("status", {"id": "zzzzzzzz"})
print(json.dumps([job, done, bad]))
"""


@covers("method:submit", "method:wait")
def test_web3s_ipc_provider_submits_a_job_and_waits_for_it(shared):
    if importlib.util.find_spec("web3") is None:
        pytest.skip("web3 is not installed: pip install 'jobd[dev]'")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(shared.socket)],
        capture_output=True, text=True, timeout=55, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    job, done, bad = json.loads(ended.stdout)
    [document] = done["result"]["jobs"]
    assert document["id"] == job["result"]["id"]
    assert document["result"] == {"args": [1, "two"], "kwargs": {}}
    assert bad["error"]["code"] == -32002
