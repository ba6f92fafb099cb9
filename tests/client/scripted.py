"""A daemon that answers as a test told it to, over a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import threading

DROP = object()  # the connection closes instead of an answer
FAREWELL = object()  # the connection closes after an answer
HALF = object()  # and this after the beginning of one
SILENCE = object()  # no answer, ever
UNSAID = {"status": {"status": "running", "attempt": 1}}  # what is answered unless it is scripted


class Unread:
    """A refusal with a null id, after which the connection closes."""

    def __init__(self, error):
        self.error = error


class ScriptedDaemon:
    """`script[method]`: a list of answers, the last of which is given again and again.

    An answer is a result, a RequestError, DROP, HALF, SILENCE, or a function of (params, say) that
    returns one, where say(method, params) sends a notification of that request's stream.
    """

    def __init__(self, path):
        self.path = str(path)
        self.script = {}
        self.requests = queue.Queue()  # (method, params), in order of arrival
        self.connections = 0
        self._listener = None
        self._links = []
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self):
        """As a daemon that dies: its socket file stays."""
        if self._listener is None:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        for link in self._links:
            link.close()
        self._links.clear()

    def restart(self):
        self.stop()
        self.start()

    def on(self, method, *answers):
        self.script[method] = list(answers)

    def asked(self, timeout=5):
        return self.requests.get(timeout=timeout)

    def all_asked(self):
        return [self.requests.get_nowait() for _ in range(self.requests.qsize())]

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            link = _Link(self, connection)
            self._links.append(link)
            threading.Thread(target=link.serve, daemon=True).start()


class _Link:
    def __init__(self, daemon, connection):
        self.daemon = daemon
        self.connection = connection
        self.lock = threading.Lock()

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def send(self, message):
        with self.lock, contextlib.suppress(OSError):
            self.connection.sendall(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def serve(self):
        try:
            with self.connection.makefile("rb") as lines:
                for line in lines:
                    request = json.loads(line)
                    threading.Thread(target=self.answer, args=(request,), daemon=True).start()
        except (OSError, ValueError):
            pass
        finally:
            self.close()

    def answer(self, request):
        method, params, id = request["method"], request.get("params", {}), request["id"]
        answers = self.daemon.script.get(method, [UNSAID.get(method, {})])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.daemon.requests.put((method, params))
        if callable(answer):
            answer = answer(
                params,
                lambda name, said: self.send(
                    {"method": name, "params": {"subscription": id, **said}}
                ),
            )
        if isinstance(answer, Unread):
            error = {"code": answer.error.code, "message": str(answer.error)}
            self.send({"id": None, "error": error})
            self.close()
        elif answer is FAREWELL:
            self.send({"id": id, "result": {}})
            self.close()
        elif answer in (DROP, HALF):
            if answer is HALF:
                with self.lock, contextlib.suppress(OSError):
                    self.connection.sendall(b'{"jsonrpc":"2.0","result":{"id":"aaaa')
            self.close()
        elif isinstance(answer, Exception):
            data = {"type": answer.type, **answer.data}
            self.send(
                {"id": id, "error": {"code": answer.code, "message": str(answer), "data": data}}
            )
        elif answer is not SILENCE:
            self.send({"id": id, "result": answer})
