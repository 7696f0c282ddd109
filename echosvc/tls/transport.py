"""TLS that keeps the promises of plain TCP.

Twisted's own transport tells its protocol nothing of the peer's close_notify, throws
away what it was given in the same turn, and cannot half-close (Twisted issues 5341,
7926, 11989). :class:`TLSTransport` does: the peer's close_notify is its FIN, ours can
be sent alone, a pause stops the decryption in the middle of a read, and what was
encrypted goes to the kernel at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from echosvc.connection.layer import LayerTransport
from echosvc.connection.transport import Layer
from echosvc.net.errors import TLSError, describe_tls_error
from echosvc.tls.records import RECORD, Records, whole_record

#: What a record adds to its plain text at most, bytes (RFC 8446, 5.2; header included).
_OVERHEAD = 5 + 256
#: How much is encrypted in one go, bytes: so much is held twice.
_SLICE = 8 * RECORD


@implementer(IHalfCloseableProtocol, ITransport)
class TLSTransport(LayerTransport):
    """TLS between a stream transport and a protocol.

    What is written before the handshake is done is held until then.

    :param begin: makes OpenSSL's side of the connection, which this transport is for.
    :param verify: called once the handshake is done; raises to refuse the peer.
    :param is_client: the reason why ``begin`` failed is :meth:`when_ready`'s. On a server,
        nobody asks for it: it is raised.
    :ivar cut: the peer ended TCP without a close_notify: somebody else may have.
    """

    disconnecting = False

    _eof = False  # TCP's stream has ended
    _read_over = False  # nothing more is to be decrypted
    _write_over = False  # our close_notify is out, or nothing may be sent any more
    _paused = False
    _pumping = False
    _reason: Failure | None = None
    _tls: Any = None  # OpenSSL's connection, from the start on

    def __init__(
        self,
        inner: IProtocol,
        begin: Callable[[TLSTransport], SSL.Connection],
        verify: Callable[[SSL.Connection], None],
        is_client: bool,
    ) -> None:
        super().__init__(inner)
        self._make_tls, self._verify, self._is_client = begin, verify, is_client
        self._early: list[bytes] = []
        self._records = Records()

    # -- from below -----------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin the handshake."""
        self._begin()
        try:
            self._tls = self._make_tls(self)
        except Exception as error:
            self._never_began(error)
            return
        self._tls.set_app_data(self)
        self.wrappedProtocol.makeConnection(self)
        self._handshake()

    def _never_began(self, error: Exception) -> None:
        """There is no TLS to be had; the inner protocol does not hear of the connection.

        :raises Exception: the same, on a server: nobody waits for the reason there.
        """
        self.wrappedProtocol = Protocol()
        self._reason = Failure(TLSError(describe_tls_error(error)))
        self.abortConnection()
        if not self._is_client:
            raise error

    def dataReceived(self, data: bytes) -> None:
        """Decrypt, unless the inner protocol has paused."""
        if self._read_over:
            return
        whole = whole_record(data) if self._records.aligned else 0
        if not whole:
            self._records.feed(data)
        self._tls.bio_write(data)
        if not self.ready:
            self._handshake()
        if self.ready:
            self._pump(0 if self.holding or self._paused else whole)

    def readConnectionLost(self) -> None:
        """TCP's end of the stream. After the close_notify it says nothing new."""
        if self._sender.broke:
            self._sender.lose()
        elif not self.ready:
            self._fail(TLSError("the connection ended before the handshake"))
        elif not self._read_over:
            # OpenSSL is not told: it would refuse to encrypt what is still due.
            self._eof = True
            self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, for TLS's reason where there is one."""
        self._read_over = self._write_over = True
        if self._tls is not None:
            self._tls.set_app_data(None)
        self._over(self._reason or reason)

    def failVerification(self, reason: Failure) -> None:
        """The server's certificate is refused; the handshake fails next."""
        if not reason.check(TLSError):
            reason = Failure(TLSError("TLS: the certificate is for another name or address"))
        self._reason = reason

    def _handshake(self) -> None:
        if self._read_over:  # the inner protocol has aborted already
            return
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except Exception as error:  # a creator's callbacks may raise anything
            self._fail(error)
            return
        if self._verified():
            self._flush()
            self._open()

    def _verified(self) -> bool:
        """Whether the other end is who it should be; if not, it gets nothing more from us."""
        try:
            self._verify(self._tls)
        except TLSError as error:
            self._reason = Failure(error)
        except Exception as error:
            self._reason = Failure(TLSError(describe_tls_error(error)))
        else:
            return True
        self.abortConnection()
        return False

    def _open(self) -> None:
        """Let the inner protocol exchange bytes."""
        if self._paused:
            self._below.pauseProducing()
        self.ready = True
        early, self._early = self._early, []
        for data in early:
            self.write(data)
        self._completed()

    def _pump(self, whole: int = 0) -> None:
        """Decrypt what came, until the inner protocol wants no more.

        :param whole: bytes of the one record that OpenSSL holds, with no more behind it;
            0 = not known. To ask once more for what is not there costs as much as it.
        """
        if self._pumping:
            return
        self._pumping = self.holding = True
        try:
            if whole:
                data = self._tls.recv(whole)
                self.holding = False
                self.wrappedProtocol.dataReceived(data)
            while self.holding and not (self._paused or self._read_over):
                self.wrappedProtocol.dataReceived(self._tls.recv(RECORD))
        except SSL.WantReadError:
            self.holding = False
            self._flush()  # the answer to a key update
            if self._eof:
                self.cut = True
                self._peer_finished()
        except SSL.ZeroReturnError:
            self._peer_finished()
        except SSL.Error as error:
            self._fail(error)
        finally:
            self._pumping = False

    def _peer_finished(self) -> None:
        self._read_over, self.holding = True, False
        if not self._tell("readConnectionLost"):
            self.loseConnection()

    def _fail(self, error: Exception) -> None:
        """End with an alert to the peer where OpenSSL has one."""
        self._reason = self._reason or Failure(TLSError(describe_tls_error(error)))
        self._read_over = self._write_over = True
        if self._flush():
            self._below.unregisterProducer()
            self._below.loseConnection()
        else:  # a peer that breaks TLS is not waited for
            self._below.abortConnection()

    # -- from above: sending --------------------------------------------------

    def send(self, data: bytes, later: bool = False) -> bool:
        """Encrypt and send ``data``; give whether the kernel has taken it all."""
        if self._write_over or not data:
            return not data
        if not self.ready:
            self._early.append(data)
            return False
        try:
            return self._encrypted(data, later)
        except SSL.Error as error:
            self._fail(error)
            return False

    def _encrypted(self, data: bytes, later: bool) -> bool:
        """Encrypt record by record: pyOpenSSL takes no more at once than it likes."""
        taken = self._tls.send(data)
        while taken < len(data):
            if taken % _SLICE == 0:
                self._flush(later)
            taken += self._tls.send(memoryview(data)[taken : taken + RECORD])
        return self._flush(later, len(data))

    def _flush(self, later: bool = False, plain: int = _SLICE) -> bool:
        """Send what OpenSSL has ready; give whether the kernel has taken it all.

        :param plain: bytes of plain text that were encrypted, about.
        """
        size = min(plain, _SLICE) + _OVERHEAD * (plain // RECORD + 1)
        while True:
            try:
                data = self._tls.bio_read(size)
            except SSL.WantReadError:
                return self._sender.queued() == 0
            taken = self._sender.send(data, later)
            if len(data) < size:
                return taken

    # -- from above: receiving ------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing more, not even what was read already. The handshake goes on."""
        self._paused = True
        if self.ready:
            self._below.pauseProducing()

    def deliver(self) -> None:
        """Deliver what was read already, and read no more."""
        self._paused = False
        if self.ready:
            self._pump()
        if isinstance(self._below, Layer) and not self._paused:
            self._below.deliver()

    def resumeProducing(self) -> None:
        """Deliver again, first what was read already."""
        self.deliver()
        if not self._paused:
            self._below.resumeProducing()

    # -- from above: ending ---------------------------------------------------

    def loseWriteConnection(self) -> None:
        """Send our close_notify, then FIN; the peer may go on sending."""
        self._notify()
        self._below.loseWriteConnection()

    def loseConnection(self) -> None:
        """Flush, send our close_notify, close; before the handshake: reset."""
        if not self.ready:
            self.abortConnection()
            return
        self._notify()
        self.disconnecting = True
        self._below.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection below."""
        self._read_over = self._write_over = self.disconnecting = True
        self._below.abortConnection()

    def _notify(self) -> None:
        if self.ready and not self._write_over:
            self._write_over = True
            try:
                self._tls.shutdown()
            except SSL.Error as error:
                self._reason = Failure(TLSError(describe_tls_error(error)))
            self._flush()

    # -- facts ----------------------------------------------------------------

    @property
    def tls_version(self) -> str:
        """The protocol's version, e.g. ``TLSv1.3``."""
        return str(self._tls.get_protocol_version_name())

    @property
    def tls_peer(self) -> str:
        """The common name in the peer's certificate, raw; ``-`` where it has shown none.

        Also where nobody can read it: an authority may have signed what is no text.
        """
        try:
            certificate = self._tls.get_peer_certificate(as_cryptography=True)
            if certificate is not None:
                names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
                return str(names[0].value) if names else "-"
        except (ValueError, TypeError):
            pass
        return "-"

    def getHandle(self) -> SSL.Connection:
        """OpenSSL's connection."""
        return cast(SSL.Connection, self._tls)
