"""Where the socket stands, who may connect, and what is refused before anything is touched."""

import asyncio
import errno
import os
import resource
import socket
import stat
import sys
from pathlib import Path

import pytest

from jobd.errors import SocketUnusable
from jobd.rpc.transport import Kept, Peer, system_listener
from jobd.rpc.unix_socket import UnixListener

pytestmark = pytest.mark.anyio


class Greeter(asyncio.Protocol):
    """Says who is there, and notes it."""

    def __init__(self, listener, peers):
        self.listener, self.peers = listener, peers

    def connection_made(self, transport):
        self.peers.append(self.listener.peer(transport))
        transport.write(b"hello")
        transport.close()


@pytest.fixture
async def listener(socket_path):
    listener = UnixListener(socket_path)
    yield listener
    await listener.aclose()


@pytest.fixture
def listen():
    async def listen(listener):
        peers = []
        listener.bind()
        await listener.serve(lambda: Greeter(listener, peers))
        return peers

    return listen


async def greeting(path):
    reader, writer = await asyncio.open_unix_connection(path)
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


def refused(listener, exit_code):
    """By `check`, which touches nothing, as by `bind`; the message."""
    with pytest.raises(SocketUnusable):
        listener.check()
    with pytest.raises(SocketUnusable) as caught:
        listener.bind()
    assert caught.value.exit_code == exit_code
    return str(caught.value)


async def test_the_socket_is_its_owners_alone_in_a_directory_of_its_owners(
    listener, listen, socket_path
):
    previous = os.umask(0)
    try:
        await listen(listener)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(Path(socket_path).parent).st_mode) == 0o700


async def test_a_peer_is_who_the_kernel_says(listener, listen, socket_path):
    peers = await listen(listener)
    assert await greeting(socket_path) == b"hello"
    assert peers == [Peer(f"uid:{os.geteuid()}", os.getpid())]


async def test_the_socket_goes_with_the_listener(listener, listen, socket_path):
    await listen(listener)
    await listener.aclose()
    assert not os.path.exists(socket_path)
    await listener.aclose()


async def test_a_socket_of_somebody_else_stays(listener, listen, socket_path):
    await listen(listener)
    os.unlink(socket_path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(socket_path)
        await listener.aclose()
        assert os.path.exists(socket_path)


async def test_what_a_crash_left_is_replaced(listener, listen, socket_path):
    os.makedirs(Path(socket_path).parent, mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path)
    await listen(listener)
    assert await greeting(socket_path) == b"hello"


async def test_a_daemon_that_answers_there_is_left_alone(listener, listen, socket_path):
    await listen(listener)
    message = refused(UnixListener(socket_path), 111)
    assert "another daemon listens" in message
    assert await greeting(socket_path) == b"hello"


async def test_a_daemon_that_is_too_busy_to_answer_is_left_alone(socket_path):
    os.makedirs(Path(socket_path).parent, mode=0o700)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(socket_path)
        busy.listen(0)
        first.connect(socket_path)
        refused(UnixListener(socket_path), 111)
        assert os.path.exists(socket_path)


async def test_who_connects_before_it_is_served_waits_and_is_served(listener, socket_path):
    listener.bind()
    reader, writer = await asyncio.open_unix_connection(socket_path)
    await listener.serve(lambda: Greeter(listener, []))
    assert await reader.read() == b"hello"
    writer.close()
    await writer.wait_closed()


async def test_who_connects_after_a_listener_that_is_kept_is_served_by_the_next(
    listener, listen, socket_path
):
    await listen(listener)
    listener.keep()
    await listener.aclose()
    reader, writer = await asyncio.open_unix_connection(socket_path)  # it waits
    following = UnixListener(socket_path)
    following.bind(listener.kept)
    await following.serve(lambda: Greeter(following, []))
    assert await reader.read() == b"hello"
    assert await greeting(socket_path) == b"hello"
    writer.close()
    await writer.wait_closed()
    await following.aclose()
    assert not os.path.exists(socket_path)


async def test_a_socket_that_was_kept_at_another_address_is_removed(listener, listen, socket_path):
    await listen(listener)
    listener.keep()
    await listener.aclose()
    moved = UnixListener(f"{socket_path}2")
    moved.bind(listener.kept)
    await moved.serve(lambda: Greeter(moved, []))
    assert await greeting(moved.address) == b"hello"
    assert not os.path.exists(socket_path)
    await moved.aclose()


@pytest.mark.parametrize("replaced", [False, True])
async def test_what_stands_at_another_address_is_removed_only_if_it_was_ours(
    listener, socket_path, replaced
):
    os.makedirs(Path(socket_path).parent, mode=0o700)
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as later:
        other.bind(f"{socket_path}2")
        other.listen()
        there = os.lstat(f"{socket_path}2")
        told = Kept(other.detach(), there.st_dev, there.st_ino + 1)
        if replaced:  # by somebody else, while the next program began
            os.rename(f"{socket_path}2", f"{socket_path}3")
            later.bind(f"{socket_path}2")
            told = told._replace(inode=there.st_ino)
        listener.bind(told)
        assert os.path.exists(socket_path)
        assert os.path.exists(f"{socket_path}2")
        await listener.aclose()


async def test_without_a_descriptor_for_it_nothing_is_kept_and_it_serves_on(
    listener, listen, socket_path, monkeypatch
):
    def lacks(_fd):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    await listen(listener)
    with monkeypatch.context() as without, pytest.raises(OSError, match="Too many open files"):
        without.setattr(os, "dup", lacks)
        listener.keep()
    assert await greeting(socket_path) == b"hello"
    await listener.aclose()
    assert not os.path.exists(socket_path)


async def test_what_stood_there_is_kept_only_while_it_stands(listener, listen, socket_path):
    await listen(listener)
    os.unlink(socket_path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(socket_path)
        listener.keep()
        assert listener.kept is None
        await listener.aclose()
        assert os.path.exists(socket_path)


async def test_a_check_of_what_is_fine_makes_nothing(listener, socket_path):
    listener.check()
    assert not Path(socket_path).parent.exists()


async def test_one_that_was_bound_and_never_served_goes_too(listener, socket_path):
    listener.bind()
    await listener.aclose()
    assert not os.path.exists(socket_path)


async def test_of_two_that_start_together_one_listens(socket_path, listen):
    listeners = [UnixListener(socket_path) for _ in range(2)]
    outcomes = await asyncio.gather(*map(listen, listeners), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(SocketUnusable) == 1
    for listener in listeners:
        await listener.aclose()


async def test_a_file_in_the_way_is_refused_and_not_touched(socket_path):
    os.makedirs(Path(socket_path).parent, mode=0o700)
    Path(socket_path).write_text("precious")
    assert "is no socket" in refused(UnixListener(socket_path), 100)
    assert Path(socket_path).read_text() == "precious"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
async def test_a_directory_that_others_can_write_is_refused(mode, socket_path):
    directory = Path(socket_path).parent
    directory.mkdir()
    directory.chmod(mode)
    assert "can be written by others" in refused(UnixListener(socket_path), 100)
    assert list(directory.iterdir()) == []


async def test_a_directory_that_is_none_is_refused(socket_path):
    Path(socket_path).parent.write_text("a file")
    refused(UnixListener(socket_path), 100)


async def test_a_path_that_is_too_long_is_refused_with_its_length(tmp_path):
    path = str(tmp_path / ("x" * 120))
    message = refused(UnixListener(path), 100)
    assert str(len(path)) in message
    assert "107" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_another_user_is_refused(listener, connect, socket_path):
    """Past the modes, as one who holds a descriptor of the directory might get."""
    os.chmod(Path(socket_path).parent.parent, 0o755)
    os.chmod(Path(socket_path).parent, 0o755)
    os.chmod(socket_path, 0o666)
    script = (
        "import os,socket,sys; os.setuid(65534); s=socket.socket(socket.AF_UNIX);"
        "s.connect(sys.argv[1])\n"
        "try: s.sendall(b'{}\\n'); print(s.recv(100))\nexcept ConnectionError: print(b'')"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, socket_path, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"b''\n"
    client = await connect()
    assert await client.call("ping")


async def test_the_number_of_connections_leaves_descriptors_for_work(listener):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        assert listener.connections_max == 600 - 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_platform_chooses_its_listener():
    assert isinstance(system_listener("/run/x.sock"), UnixListener)
