"""Connections: their bounds, and peers who mean no good."""

import asyncio
import json

import pytest

from jobd.rpc import connection
from jobd.rpc.jsonrpc import BATCH_MAX
from jobd.rpc.unix_socket import UnixListener

pytestmark = pytest.mark.anyio

TARGET = {"target": "app.jobs:rebuild"}
MEGABYTE = 1 << 20


class Slow:
    """Answers `now` at once, and all else when it is told to."""

    def __init__(self):
        self.release = asyncio.Event()
        self.asked = 0
        self.open = 0
        self.most = 0

    def patient(self, request):
        return request.method == "patient"

    async def answer(self, call, request):
        self.asked += 1
        if request.method == "now":
            return len(str(request.params))
        if request.method == "large":
            return "x" * MEGABYTE
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self.release.wait()
        finally:
            self.open -= 1
        return "late"


@pytest.fixture
async def slow():
    return Slow()


def raw(method, id=1):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method}).encode() + b"\n"


# In any order, and joined.


async def test_each_request_is_answered_as_soon_as_it_is_done(serving, slow):
    async with serving(slow) as connect:
        client = await connect()
        late = client.send("slow")
        assert (await client.answer(client.send("now")))["result"]
        slow.release.set()
        assert (await client.answer(late))["result"] == "late"


async def test_requests_may_come_in_pieces_and_many_at_once(serving, slow):
    async with serving(slow) as connect:
        client = await connect()
        for byte in raw("now", 1):
            client.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.line())["id"] == 1
        client.write(b"\r\n\n" + b"".join(raw("now", n) for n in range(100)))
        assert {(await client.line())["id"] for _ in range(100)} == set(range(100))


async def test_a_client_that_ceased_to_send_still_gets_its_answers(serving, slow, eventually):
    async with serving(slow) as connect:
        client = await connect()
        client.write(raw("slow", 1) + raw("now", 2))
        client.writer.write_eof()
        assert (await client.line())["id"] == 2
        slow.release.set()
        assert (await client.line())["id"] == 1
        assert await client.line() is None


async def test_requests_of_a_client_that_went_are_given_up(serving, slow, eventually):
    async with serving(slow) as connect:
        client = await connect()
        client.write(raw("slow") + raw("patient"))
        await eventually(lambda: slow.open == 2)
        await client.aclose()
        await eventually(lambda: slow.open == 0)


async def test_a_batch_with_something_slow_is_one_answer_and_holds_up_nobody(serving, slow):
    async with serving(slow) as connect:
        client = await connect()
        client.write(b"[" + raw("slow", 1).strip() + b"," + raw("now", 2).strip() + b"]\n")
        assert (await client.answer(client.send("now", id=3)))["id"] == 3
        slow.release.set()
        assert {answer["id"] for answer in await client.line()} == {1, 2}


# Bounds.


async def test_a_line_over_the_limit_is_answered_and_the_connection_closed(serving, slow):
    async with serving(slow, lambda: 1000) as connect:
        client, other = await connect(), await connect()
        client.write(b" " * 999 + b"1\n")
        assert (await client.line())["error"]["message"] == "Invalid Request"
        client.send("patient")
        client.write(b" " * 1000 + b"1\n")
        answer = await client.line()
        assert (answer["id"], answer["error"]["code"]) == (None, -32600)
        assert "1000 bytes" in answer["error"]["message"]
        assert await client.line() is None
        assert (await other.answer(other.send("now")))["result"]


async def test_half_a_line_that_never_ends_holds_no_more_than_the_limit(serving, slow):
    async with serving(slow, lambda: 1000) as connect:
        client = await connect()
        client.write(b"[" * MEGABYTE)
        assert (await client.line())["error"]["code"] == -32600
        assert await client.ended()


async def test_at_most_256_requests_of_a_connection_are_under_way(serving, slow, eventually):
    async with serving(slow) as connect:
        client, other = await connect(), await connect()
        client.write(b"".join(raw("slow", n) for n in range(300)))
        await eventually(lambda: slow.open == connection.IN_FLIGHT_MAX)
        assert (await other.answer(other.send("now")))["result"]
        assert slow.open == connection.IN_FLIGHT_MAX
        slow.release.set()
        assert {(await client.line())["id"] for _ in range(300)} == set(range(300))
        assert slow.most == connection.IN_FLIGHT_MAX


async def test_requests_that_wait_for_the_world_are_counted_apart(serving, slow, eventually):
    async with serving(slow) as connect:
        client = await connect()
        client.write(b"".join(raw("patient", n) for n in range(5000)))
        await eventually(lambda: slow.open == connection.PATIENT_MAX)
        slow.release.set()
        assert {(await client.line())["id"] for _ in range(5000)} == set(range(5000))
        assert slow.most == connection.PATIENT_MAX


async def test_waiting_requests_do_not_hold_up_others(serving, slow):
    async with serving(slow) as connect:
        client = await connect()
        client.write(b"".join(raw("patient", n) for n in range(1000)))
        assert (await client.answer(client.send("now", id="now")))["result"]
        slow.release.set()


async def test_a_batch_counts_each_of_its_requests(serving, slow, eventually):
    async with serving(slow) as connect:
        client = await connect()
        batch = b",".join(raw("slow", n).strip() for n in range(300))
        client.write(b"[" + batch + b"]\n")
        await eventually(lambda: slow.open == connection.IN_FLIGHT_MAX)
        slow.release.set()
        assert {answer["id"] for answer in await client.line()} == set(range(300))
        assert slow.most == connection.IN_FLIGHT_MAX


async def test_a_client_that_does_not_read_is_disconnected(serving, slow, eventually):
    async with serving(slow) as connect:
        deaf, other = await connect(), await connect()
        deaf.reader._transport.pause_reading()
        deaf.write(b"".join(raw("large", n) for n in range(40)))
        await eventually(lambda: len(connect.server._connections) == 1)
        assert (await other.answer(other.send("now")))["result"]


async def test_a_client_that_reads_slowly_gets_all_below_the_limit(serving, slow):
    async with serving(slow) as connect:
        client = await connect()
        for n in range(12):
            client.write(raw("large", n))
        await asyncio.sleep(0)
        assert {(await client.line())["id"] for _ in range(12)} == set(range(12))


async def test_the_replies_to_one_batch_are_bounded(serving, slow):
    async with serving(slow) as connect:
        client, other = await connect(), await connect()
        client.write(b"[" + b",".join(raw("large", n).strip() for n in range(40)) + b"]\n")
        assert await client.ended()
        assert (await other.answer(other.send("now")))["result"]


async def test_a_batch_of_too_many_is_refused(serving, slow):
    async with serving(slow, lambda: MEGABYTE) as connect:
        client = await connect()
        client.write(b"[" + b"1," * BATCH_MAX + b"1]\n")
        assert (await client.line())["error"]["code"] == -32600
        client.write(b"[" + b"1," * (BATCH_MAX - 1) + b"1]\n")
        assert len(await client.line()) == BATCH_MAX


async def test_a_thousand_connections_are_served_and_those_beyond_are_closed(
    serving, slow, monkeypatch, eventually, caplog
):
    monkeypatch.setattr(UnixListener, "connections_max", 100)
    async with serving(slow) as connect:
        clients = [await connect() for _ in range(120)]
        await eventually(lambda: len(connect.server._connections) == 100)
        for client in clients[:100]:
            client.send("now", id=1)
        for client in clients[:100]:
            assert (await client.line())["id"] == 1
        for client in clients[100:]:
            assert await client.ended()
        # Room is made by those who go; the log said it once.
        assert caplog.text.count("connections_full") == 1
        await clients[0].aclose()
        await eventually(lambda: len(connect.server._connections) == 99)
        again = await connect()
        assert (await again.answer(again.send("now")))["result"]


# Hostile.

GARBAGE = {
    "zeros": b"\0" * 5000 + b"\n",
    "every byte": bytes(range(256)) * 10 + b"\n",
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\n",
    "brackets": b"[" * 60_000 + b"\n",
    "brackets, half a line": b"[" * 60_000,
    "braces": b'{"a":' * 12_000 + b"\n",
    "NaN": b'{"jsonrpc":"2.0","id":1,"method":"submit","params":{"delay":NaN}}\n',
    "1e400": b'{"jsonrpc":"2.0","id":1,"method":"submit","params":{"delay":1e400}}\n',
    "digits": b'{"jsonrpc":"2.0","id":' + b"1" * 5000 + b',"method":"ping"}\n',
    "a surrogate": b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}\n',
    "a key twice": b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}\n',
    "an id that is an object": b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}\n',
    "a method that is an array": b'{"jsonrpc":"2.0","id":1,"method":["ping"]}\n',
    "a long method": b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 60_000 + b'"}\n',
    "a batch of batches": b"[[[]],[{}],[[1]]]\n",
    "half a request": b'{"jsonrpc":"2.0","id":1,"meth',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_gets_an_error_and_disturbs_nobody(garbage, client, connect, world, caplog):
    other = await connect()
    client.write(garbage)
    if garbage.endswith(b"\n"):
        answer = await client.line()
        answers = answer if isinstance(answer, list) else [answer]
        assert all(entry["error"]["code"] in {-32700, -32600, -32601} for entry in answers)
        assert (await client.answer(client.send("ping", id="p")))["result"]["name"] == "jobd"
    assert await other.call("ping")
    assert not len(world.engine.jobs)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_everything_of_a_document_survives_the_way(client, world):
    given = {"kwargs": {"é\0\u2028": ["\U0001f600", 1.5, None, True, 10**300]}, "label": "\x1b[31m"}
    id = await client.submit(**TARGET, **given)
    shown = await client.call("status", id=id)
    assert {name: shown[name] for name in given} == given


# The end.


async def test_at_the_end_every_request_that_was_read_is_answered(client, world, connect):
    world.stalled = asyncio.Event()
    ids = [client.send("submit", TARGET) for _ in range(20)]
    await client.call("ping")
    stop = asyncio.ensure_future(connect.server.aclose())
    for _ in range(10):
        await asyncio.sleep(0)
    world.stalled.set()
    for id in ids:
        assert (await client.answer(id))["result"]["status"] == "pending"
    await stop
    assert await client.line() is None
    with pytest.raises(OSError, match=r".*"):
        await connect()


async def test_a_large_answer_is_delivered_before_the_end(serving, slow, eventually):
    async with serving(slow) as connect:
        client = await connect()
        client.send("large")
        await eventually(lambda: slow.asked)
        stop = asyncio.ensure_future(connect.server.aclose())
        assert len((await client.line())["result"]) == MEGABYTE
        await stop


async def test_a_peer_that_never_reads_does_not_hold_up_the_end(serving, slow, eventually):
    async with serving(slow) as connect:
        deaf = await connect()
        deaf.reader._transport.pause_reading()
        deaf.write(b"".join(raw("large", n) for n in range(10)))
        await eventually(lambda: len(connect.server._connections) == 1)
        async with asyncio.timeout(5):
            await connect.server.aclose()
        assert not connect.server._connections
