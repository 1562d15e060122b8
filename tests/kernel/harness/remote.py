"""Another place where functions of ``probes`` can be called; what a guest and namespaces have in common."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from types import TracebackType
from typing import Any

__all__ = ["LEASH", "Remote", "RemoteError"]

LEASH = ("setpriv", "--pdeathsig=KILL", "--")
"""Before a command: it is killed when this process ends, however this process ends."""


class RemoteError(AssertionError):
    """The other place is gone or silent, or a call failed there; carries its last words."""


class Remote:
    """An agent that answers calls over a socket, a line of JSON each way. Who inherits starts its process."""

    _process: subprocess.Popen[bytes]
    _socket: socket.socket
    _buffer: bytes

    def _connect(self) -> socket.socket:
        """Make a line to a new agent; return the end that the agent is to have."""
        self._socket, theirs = socket.socketpair()
        self._buffer = b""
        return theirs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._socket.sendall(b'{"name": "goodbye"}\n')
                self._process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                pass
        self._stop()

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def call(self, name: str, /, *, seconds: float = 120, **arguments: object) -> Any:
        """Run a function of ``probes`` there; return what it returns, by way of JSON.

        Raises RemoteError where it raises, or has not answered after ``seconds``.
        """
        try:
            self._socket.sendall(json.dumps({"name": name, "arguments": arguments}).encode() + b"\n")
        except OSError:
            raise self._gone(name) from None
        return self._receive(name, seconds)

    def _receive(self, what: str, seconds: float) -> Any:
        until = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise RemoteError(f"{what}: no answer after {seconds} s\n{self._last_words()}") from None
            if not data:
                raise self._gone(what)
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(f"{what}: {answer['error']}")
        return answer["result"]

    def _gone(self, what: str) -> RemoteError:
        return RemoteError(f"{what}: nobody is there any more\n{self._last_words()}")

    def _last_words(self) -> str:
        """End the agent; return what there is to read of its end."""
        self._stop()
        return ""
