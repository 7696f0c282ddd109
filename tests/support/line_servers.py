"""Small servers that answer lines as other projects' echo servers do: several in one, by turns."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128

    def __init__(self, handler: type[socketserver.BaseRequestHandler], names: Sequence[str]):
        super().__init__(("127.0.0.1", 0), handler)
        self._names, self._next, self._lock = names, 0, threading.Lock()
        self.ports: list[int] = []

    def next_name(self, port: int) -> str:
        """The server of the next connection."""
        with self._lock:
            self.ports.append(port)
            self._next += 1
            return self._names[(self._next - 1) % len(self._names)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may reset its connection."""


class _Istio(socketserver.StreamRequestHandler):
    """A word, a space and the line. What has no LF at the end is lost."""

    def handle(self) -> None:
        word = self.server.next_name(self.client_address[1])  # type: ignore[attr-defined]
        for line in self.rfile:
            if line.endswith(b"\n"):
                self.wfile.write(word.encode() + b" " + line)


class _GatewayAPI(socketserver.StreamRequestHandler):
    """A greeting, then answers to three commands; other lines have none."""

    def handle(self) -> None:
        pod = self.server.next_name(self.client_address[1])  # type: ignore[attr-defined]
        context = {"namespace": "n", "ingress": "", "service": "s", "pod": pod, "tcpport": "3000"}
        answers = {
            b"TEST": json.dumps({**context, "isTLS": False}).encode(),
            b"IS_TLS": b"false",
            b"PING": b"PONG",
        }
        self.wfile.write(b"Gateway API Test TCP Server\n")
        for line in self.rfile:
            if answer := answers.get(line.rstrip(b"\r\n")):
                self.wfile.write(answer + b"\n")


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler], names: Sequence[str]) -> Iterator[Any]:
    with _Server(handler, names) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def istio(*words: str) -> Any:
    """Servers of Istio's ``tcp-echo`` with these words, by turns."""
    return _serving(_Istio, words)


def gateway_api(*pods: str) -> Any:
    """Servers of the Gateway API's tests in these pods, by turns."""
    return _serving(_GatewayAPI, pods)


def endpoint(server: Any) -> str:
    return f"tcp:127.0.0.1:{server.server_address[1]}"
