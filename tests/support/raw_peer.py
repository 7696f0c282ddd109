"""A peer that blocks: a plain socket, and as many layers of Python's own TLS on it as wanted."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.support.payload import MIB, READ
from tests.support.sockets import reset
from tests.support.waiting import LIMIT

#: How a stream ends for a peer that reads to its end.
CLEAN, CUT, RESET = "FIN, after TLS's close_notify", "FIN without close_notify", "reset"


@dataclass
class Heard:
    """What a peer has received until the end of its stream.

    :ivar data: the plain text.
    :ivar end: :data:`CLEAN`, :data:`CUT` or :data:`RESET`.
    """

    data: bytes
    end: str

    @property
    def size(self) -> int:
        """Bytes of plain text."""
        return len(self.data)


class Layer:
    """One TLS connection in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = context.protocol == ssl.PROTOCOL_TLS_SERVER
        self._tls = context.wrap_bio(self._in, self._out, server_side=is_server)
        self.ended = False

    def handshake(self, wire: bytes) -> tuple[bool, bytes]:
        """Take what came; return whether the handshake is complete, and what is to be sent."""
        self._in.write(wire)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._out.read()
        return True, self._out.read()

    def encrypt(self, data: bytes, end: bool) -> bytes:
        """Return ``data`` in records, and a close_notify after it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        if end:
            with suppress(ssl.SSLWantReadError):  # the other side's need not be there yet
                self._tls.unwrap()
        return self._out.read()

    def decrypt(self, wire: bytes) -> bytes:
        """Return the plain text of the records that are complete."""
        self._in.write(wire)
        pieces = []
        try:
            while data := self._tls.read(MIB):
                pieces.append(data)
            self.ended = True
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(pieces)


class RawPeer:
    """The other end of a stream. Its calls block, and each is bounded.

    :param connected: a blocking socket.
    :param contexts: those of its TLS layers, the one next to the socket first.
    :param answers_end: a close_notify is answered by one, as by a peer that cannot half-close.
    :ivar sent: bytes of plain text that were sent, or that wait to be.
    """

    def __init__(
        self,
        connected: socket.socket,
        contexts: Sequence[ssl.SSLContext] = (),
        answers_end: bool = False,
    ) -> None:
        self.socket = connected
        self.answers_end = answers_end
        self.socket.settimeout(LIMIT)
        self.sent = 0
        self._finished = False
        self._layers: list[Layer] = []
        self._received = bytearray()
        self._unsent = memoryview(b"")
        try:
            for context in contexts:
                self._add_layer(Layer(context))
        except BaseException:
            self.close()
            raise

    def _add_layer(self, layer: Layer) -> None:
        # What came with the end of the handshake below is not to be waited for again.
        done, out = layer.handshake(self._decrypt(b""))
        while True:
            self.socket.sendall(self._encrypt(out))
            if done:
                break
            wire = self.socket.recv(READ)
            assert wire, "the handshake was refused"
            done, out = layer.handshake(self._decrypt(wire))
        self._layers.append(layer)

    def _encrypt(self, data: bytes, end: bool = False) -> bytes:
        for layer in reversed(self._layers):
            data = layer.encrypt(data, end)
        return data

    def _decrypt(self, wire: bytes) -> bytes:
        for layer in self._layers:
            wire = layer.decrypt(wire)
        return wire

    @property
    def layers(self) -> int:
        """The number of its TLS layers."""
        return len(self._layers)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def reset(self) -> None:
        """Close the socket with a RST."""
        reset(self.socket)

    def read_slowly(self, slowly: bool) -> None:
        """Offer the sender a small window only, or a large one again."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096 if slowly else MIB)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sent += len(data)
        self.socket.sendall(self._encrypt(data))

    def send_end(self) -> None:
        """End our direction, if it has not ended."""
        if not self._finished:
            self._received += self._decrypt(b"")
            self.socket.sendall(self._encrypt(b"", end=True))
            self._shut_down()

    def _shut_down(self) -> None:
        self._finished = True
        self.socket.shutdown(socket.SHUT_WR)

    def push(self, data: bytes) -> int:
        """Send ``data`` again and again until the kernel takes no more; return what it took."""
        taken = 0
        while True:
            if not self._unsent:
                self._unsent = memoryview(self._encrypt(data))
                self.sent += len(data)
            if not (size := self._send_at_once()):
                return taken
            taken += size

    def _send_at_once(self, flags: int = 0) -> int:
        self.socket.setblocking(False)  # with a time-out, Python waits whatever the flags say
        try:
            size = self.socket.send(self._unsent, flags)
        except BlockingIOError:
            size = 0
        finally:
            self.socket.settimeout(LIMIT)
        self._unsent = self._unsent[size:]
        return size

    def receive(self, size: int) -> bytes:
        """Return ``size`` bytes, or what comes before the end."""
        while len(self._received) < size and (wire := self.socket.recv(READ)):
            self._received += self._decrypt(wire)
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def converse(self, data: bytes = b"", end: bool = False) -> Heard:
        """Send ``data`` behind what waits, and receive to the end of the stream.

        :param end: end our direction too, in the packet of the last byte, if it has not ended.
        """
        end = end and not self._finished
        self.sent += len(data)
        self._received += self._decrypt(b"")
        self._unsent = memoryview(bytes(self._unsent) + self._encrypt(data, end))
        sending, how = bool(self._unsent) or end, ""
        while sending or not how:
            wanted = [] if how else [self.socket]
            writers = [self.socket] if sending else []
            readable, writable, _ = select.select(wanted, writers, [], LIMIT)
            assert readable or writable, f"nothing within {LIMIT} s"
            try:
                if writable:
                    sending = self._send_some(end)
                if readable:
                    how = self._receive_some()
            except (ConnectionResetError, BrokenPipeError):
                sending, how = False, RESET
        return Heard(self._taken(), how)

    def _send_some(self, end: bool) -> bool:
        if self._unsent:
            self._send_at_once(socket.MSG_MORE if end else 0)
        if end and not self._unsent:
            self._shut_down()
        return bool(self._unsent)

    def _receive_some(self) -> str:
        wire = self.socket.recv(MIB)
        self._received += self._decrypt(wire)
        ended = all(layer.ended for layer in self._layers)
        if ended and wire and self.answers_end:
            self.send_end()
        if wire:
            return ""
        return CLEAN if ended else CUT

    def _taken(self) -> bytes:
        data, self._received = bytes(self._received), bytearray()
        return data
