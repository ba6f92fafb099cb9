"""A real server on a real socket, over the real engine; only journal and children are missing."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jobd.core.allow import Admitted, AllowList
from jobd.core.commands import AttemptEnded
from jobd.core.decision import Kill, Launch, Stop
from jobd.core.engine import Engine
from jobd.core.job import Ending, Policy, policy_value
from jobd.core.moment import Moment
from jobd.core.rules import Rules
from jobd.errors import ConfigError
from jobd.hub import Hub
from jobd.rpc.backend import Chunk, Identity, Reloaded
from jobd.rpc.methods import Dispatch
from jobd.rpc.server import Server
from jobd.rpc.unix_socket import UnixListener

LIMIT_S = 10  # for what must happen; only a failing test waits so long


@pytest.fixture
def anyio_backend():
    return "asyncio"


class MemoryOutputs:
    """What attempts wrote, by id, attempt and stream."""

    def __init__(self):
        self.written = {}
        self.growth = asyncio.Event()
        self.watches = 0

    def write(self, id, attempt, text, stream="both"):
        self.written[id, attempt, stream] = self.written.get((id, attempt, stream), "") + text
        self.growth.set()
        self.growth = asyncio.Event()

    async def read(self, id, attempt, stream, *, offset, tail, limit, over, again):
        if isinstance(offset, str) and not offset.isdigit():
            raise ValueError("is no offset of ours")
        text = self.written.get((id, attempt, stream), "")
        if text is None:
            raise LookupError
        offset = int(offset)
        if tail is not None:
            offset = len(text) - len(
                "".join(text.splitlines(keepends=True)[-tail:] if tail else [])
            )
        piece = text[offset : offset + limit]
        end = offset + len(piece)
        return Chunk(piece, str(end) if stream == "both" else end, end == len(text), 0, False)

    def watch(self, id):
        outputs = self
        outputs.watches += 1

        class Watch:
            async def grown(self):
                await outputs.growth.wait()

            def close(self):
                outputs.watches -= 1

        return Watch()


class World:
    """The daemon without a disk and without children: they end when the test says so."""

    def __init__(self, max_running=2, max_pending=1000):
        self.engine = Engine(Rules(max_running=max_running, max_pending=max_pending), boot_id="b")
        self.hub = Hub(0)
        self.moment = Moment(1_700_000_000.0, 1000.0)
        self.outputs = MemoryOutputs()
        self.identity = Identity("1.2.3", 42, 1_700_000_000.0, "/etc/jobd/jobd.toml")
        self.max_request_bytes = 64 * 1024
        self.allow = AllowList({"app.jobs:*": ["*"], "app.jobs:rebuild": []}, ["*"])
        self.refusals = []
        self.beyond = []  # faults of limits, of whoever names the field
        self.asked_for = []
        self.effects = deque(maxlen=1000)
        self.children_obey = True  # and end when they are told to stop
        self.stopped = None
        self.reloaded = Reloaded(["daemon.max_running"], ["daemon.socket"])
        self.upgrades = 0
        self.not_upgraded = None  # why the next program can't take over
        self.stays_shut = None  # an error that every command is refused with
        self.stalled = None  # an event that commands wait for

    async def execute(self, command):
        await asyncio.sleep(0)
        if self.stalled is not None:
            await self.stalled.wait()
        if self.stays_shut is not None:
            raise self.stays_shut
        decision = self.engine.decide(command, self.moment)
        self._announce(decision)
        self.tick()
        return decision.answer

    async def ask(self, question):
        await asyncio.sleep(0)
        return question(self.engine, self.moment)

    def tick(self):
        self._announce(self.engine.tick(self.moment, lambda job: Admitted(None), lambda _: True))

    def advance(self, seconds):
        self.moment = Moment(self.moment.wall + seconds, self.moment.boot + seconds)
        self.tick()

    def finish(self, id, **ending):
        ending.setdefault("kind", "completed")
        attempt = self.engine.jobs.get(id).attempt
        command = AttemptEnded(id, attempt, Ending(pid=77, **ending), 0.0)
        self._announce(self.engine.decide(command, self.moment))
        self.tick()

    def launched(self):
        return [effect.id for effect in self.effects if isinstance(effect, Launch)]

    def _announce(self, decision):
        self.hub.announce(decision.facts)
        self.effects.extend(decision.effects)
        for effect in decision.effects:
            if isinstance(effect, Stop | Kill) and self.children_obey:
                loop = asyncio.get_running_loop()
                loop.call_soon(self._end, effect.id)

    def _end(self, id):
        if id in self.engine.running:
            self.finish(id, kind="signal", signal="SIGTERM")

    def now(self):
        return self.moment

    def policy(self, fields, *, is_command):
        shaped = {name: policy_value(name, value) for name, value in fields.items()}
        return Policy(**({"retry_attempts": 0} if is_command else {}) | shaped)

    def limit_faults(self, fields, *, is_command):
        self.asked_for.append((dict(fields), is_command))
        return [fault for fault in self.beyond if fault[0] in fields]

    def authorise(self, call):
        if "command" in call:
            return Admitted(call["command"][0])
        if (refused := self.allow.env_refusal(call.get("env", ()))) is not None:
            return refused
        return self.allow.callable(call["target"], call["method"])

    def refused(self, peer, call, why):
        self.refusals.append((peer, call, why))

    def pid_of(self, id):
        return 4711 if id in self.engine.running else None

    def stats(self):
        return {"uptime_s": 1.5, "journal": {"seq": self.engine.seq}, "throughput": 0.0}

    async def reload(self):
        if isinstance(self.reloaded, ConfigError):
            raise self.reloaded
        return self.reloaded

    async def upgrade(self):
        await asyncio.sleep(0)
        if self.not_upgraded is not None:
            raise self.not_upgraded
        self.upgrades += 1

    def shutdown(self, *, drain):
        self.stopped = drain


class Client:
    """Speaks lines; answers are told apart from notifications, and found by id."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.notifications = deque()
        self._answers = {}
        self._ids = 0

    def write(self, raw):
        self.writer.write(raw)

    def send(self, method, params=None, id=None):
        """Without waiting; returns the id."""
        if id is None:
            self._ids += 1
            id = self._ids
        body = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None:
            body["params"] = params
        self.write(json.dumps(body).encode() + b"\n")
        return id

    async def line(self):
        """The next line as JSON; None at the end."""
        async with asyncio.timeout(LIMIT_S):
            raw = await self.reader.readline()
        return json.loads(raw) if raw else None

    async def answer(self, id):
        while id not in self._answers:
            message = await self.line()
            assert message is not None, "the connection was closed"
            if "method" in message:
                self.notifications.append(message)
            else:
                self._answers[message["id"]] = message
        return self._answers.pop(id)

    async def notification(self):
        while not self.notifications:
            message = await self.line()
            assert message is not None
            if "method" in message:
                self.notifications.append(message)
            else:
                self._answers[message["id"]] = message
        return self.notifications.popleft()["params"]

    async def call(self, method, /, **params):
        """The result."""
        answer = await self.answer(self.send(method, params))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def refusal(self, method, params=None, code=None):
        """The error."""
        error = (await self.answer(self.send(method, params)))["error"]
        if code is not None:
            assert error["code"] == code, error
        return error

    async def submit(self, **fields):
        """The id of a job that runs at once, if there is room."""
        fields = fields or {"target": "app.jobs:rebuild"}
        return (await self.call("submit", **fields))["id"]

    async def ended(self):
        """Whether the server closes this connection."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        return True

    async def aclose(self):
        self.writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
def socket_path():
    """Short: a Unix socket's path may have 107 bytes, and pytest's own have more."""
    directory = tempfile.mkdtemp(prefix="jobd-")
    yield str(Path(directory) / "run" / "jobd.sock")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def world():
    return World()


@pytest.fixture
def serving(socket_path):
    """A context: a server for a dispatcher; inside it, a function that opens clients."""

    @asynccontextmanager
    async def serve(dispatcher, request_bytes_max=lambda: 64 * 1024):
        listener = UnixListener(socket_path)
        listener.bind()
        server = Server(listener, dispatcher, request_bytes_max=request_bytes_max)
        await server.start()
        clients = []

        async def connect():
            client = Client(*await asyncio.open_unix_connection(socket_path, limit=32 << 20))
            clients.append(client)
            return client

        connect.server = server
        try:
            yield connect
        finally:
            for client in clients:
                await client.aclose()
            await server.aclose()

    return serve


@pytest.fixture
async def connect(world, serving):
    """Opens a client of a server for `world`."""
    async with serving(Dispatch(world), lambda: world.max_request_bytes) as connect:
        yield connect


@pytest.fixture
async def client(connect):
    return await connect()


@pytest.fixture
def eventually():
    """Waits for a condition, turn by turn of the loop."""

    async def wait(condition, limit_s=LIMIT_S):
        async with asyncio.timeout(limit_s):
            while not condition():
                await asyncio.sleep(0.001)

    return wait
