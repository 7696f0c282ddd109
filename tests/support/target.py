"""What the tests of the client's targets share."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from contextlib import suppress

from tests.support.certificates import issue
from tests.support.commands import echosvc
from tests.support.process import Server
from tests.support.waiting import LIMIT


def to(server: Server, host: str = "localhost", more: str = "") -> list[str]:
    return ["--to", f"tls:{host}:{server.port}{more}", "--quiet"]


def fine(*words: str, reply: bytes = b"Sending: hi\n", said: str = "") -> None:
    done = echosvc("send", *words, "hi")
    assert (done.stdout, done.stderr.decode(), done.returncode) == (reply, said, 0)


def failed(*words: str) -> str:
    done = echosvc("send", *words, "hi")
    assert (done.stdout, done.returncode) == (b"", 1)
    return done.stderr.decode()


class Asked:
    """A server that takes down for whom it is asked."""

    def __enter__(self) -> Asked:
        self.names: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(issue("localhost").pem)
            file.flush()
            context.load_cert_chain(file.name)
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(context,), daemon=True)
        self._thread.start()
        return self

    def _serve(self, context: ssl.SSLContext) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                plain.settimeout(LIMIT)
                with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as end:
                    end.recv(1)

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT)
        self._listener.close()


def refusing() -> int:
    """A port on which nobody listens, of either family."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])
