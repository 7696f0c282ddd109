"""A TLS transport with the promises of a TCP transport.

Twisted's own TLS does not notify its protocol of the peer's close_notify, drops data that was
written in the same turn, and cannot half-close (Twisted issues 5341, 7926, 11989). With
:class:`TLSTransport` the peer's close_notify is EOF, ours can be sent alone, a pause stops
decryption in the middle of a read, and ciphertext goes to the kernel at once.

Theory of operation. OpenSSL does no I/O here. It works between two memory BIOs, queues of bytes
in memory, one for each direction of ciphertext::

             bio_write()                       recv()
    socket ---------------> [ input BIO ] ---> OpenSSL ---> inner protocol
    socket <--------------- [ output BIO ] <-- OpenSSL <--- inner protocol
             bio_read()                        send()

    - Input. dataReceived() puts the ciphertext into the input BIO. _decrypt() calls recv(), which
      returns the plaintext of at most one record, until it raises WantReadError: OpenSSL needs
      more ciphertext. When the protocol pauses, the rest stays in the BIO (``undelivered``).
    - If a read of the socket is exactly one record and the BIO was empty, one recv() returns
      everything. The call that would raise WantReadError is saved: it costs as much as the first.
    - Output. send() encrypts into the output BIO, record by record. _flush() moves the ciphertext
      to the sender. It also follows every other call: do_handshake(), recv() and shutdown()
      may write handshake messages, answers to key updates, alerts or the close_notify.
    - The handshake is complete when do_handshake() returns; until then it raises WantReadError.
      What the protocol writes before is kept, and encrypted afterwards.
    - End. The peer's close_notify makes recv() raise ZeroReturnError. If TCP ends without one, the
      stream may have been truncated (``unclean_eof``). OpenSSL does not learn this: it would then
      refuse to encrypt what is still to be sent.
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
from echosvc.net.errors import TLSError, describe_tls_error
from echosvc.tls.records import MAX_PLAINTEXT, RecordTracker, single_record_size

#: Most bytes that a record adds to its plaintext (RFC 8446, 5.2; header included).
_MAX_OVERHEAD = 5 + 256
#: Bytes that are encrypted before ciphertext is sent: plaintext and ciphertext are both held.
_ENCRYPT_BATCH = 8 * MAX_PLAINTEXT


@implementer(IHalfCloseableProtocol, ITransport)
class TLSTransport(LayerTransport):
    """TLS between a stream transport and a protocol.

    Data that is written before the handshake is complete is kept and sent afterwards.

    :param begin: returns OpenSSL's side of the connection.
    :param verify: called when the handshake is complete; raises to refuse the peer.
    :param is_client: an error of ``begin`` is a failure of :meth:`when_ready`. On a server, which
        does not use that, the error is raised.
    :ivar unclean_eof: TCP ended without a close_notify, so a third party may have truncated the
        stream.
    """

    disconnecting = False

    _tcp_eof = False  # the peer's FIN has come
    _read_closed = False  # nothing more is decrypted
    _write_closed = False  # our close_notify is sent, or nothing may be sent
    _paused = False
    _decrypting = False
    _close_reason: Failure | None = None
    _tls: Any = None  # OpenSSL's connection, set by connectionMade

    def __init__(
        self,
        inner: IProtocol,
        begin: Callable[[TLSTransport], SSL.Connection],
        verify: Callable[[SSL.Connection], None],
        is_client: bool,
    ) -> None:
        super().__init__(inner)
        self._begin_tls, self._verify, self._is_client = begin, verify, is_client
        self._pending_plaintext: list[bytes] = []
        self._tracker = RecordTracker()

    # -- from below -----------------------------------------------------------

    def connectionMade(self) -> None:
        """Start the handshake."""
        self.attach()
        try:
            self._tls = self._begin_tls(self)
        except Exception as error:
            self._setup_failed(error)
            return
        self._tls.set_app_data(self)
        self.wrappedProtocol.makeConnection(self)
        self._handshake()

    def _setup_failed(self, error: Exception) -> None:
        """Abort because ``begin`` has failed. The inner protocol is not connected.

        :raises Exception: the same error, on a server.
        """
        self.wrappedProtocol = Protocol()
        self._close_reason = Failure(TLSError(describe_tls_error(error)))
        self.abortConnection()
        if not self._is_client:
            raise error

    def dataReceived(self, data: bytes) -> None:
        """Pass ciphertext to OpenSSL, and decrypt unless the inner protocol has paused."""
        if self._read_closed:
            return
        single_record = single_record_size(data) if self._tracker.at_boundary else 0
        if not single_record:
            self._tracker.feed(data)
        self._tls.bio_write(data)
        if not self.ready:
            self._handshake()
        if self.ready:
            self._decrypt(0 if self.undelivered or self._paused else single_record)

    def readConnectionLost(self) -> None:
        """Handle TCP's EOF. After the close_notify it means nothing new."""
        if self.below_sender.write_failed:
            self.below_sender.fail_connection()
        elif not self.ready:
            self._fail(TLSError("the connection ended before the handshake"))
        elif not self._read_closed:
            # OpenSSL is not told: it would refuse to encrypt what is still to be sent.
            self._tcp_eof = True
            self._decrypt()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Notify the inner protocol, with TLS's reason if there is one."""
        self._read_closed = self._write_closed = True
        if self._tls is not None:
            self._tls.set_app_data(None)
        self.lost(self._close_reason or reason)

    def failVerification(self, reason: Failure) -> None:
        """Record why the server's certificate is refused; the handshake fails next."""
        if not reason.check(TLSError):
            reason = Failure(TLSError("TLS: the certificate is for another name or address"))
        self._close_reason = reason

    def _handshake(self) -> None:
        if self._read_closed:  # the inner protocol has aborted already
            return
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except Exception as error:  # a creator's callbacks may raise anything
            self._fail(error)
            return
        if self._verify_peer():
            self._flush()
            self._start_exchange()

    def _verify_peer(self) -> bool:
        """Return whether the peer is accepted; if not, abort."""
        try:
            self._verify(self._tls)
        except TLSError as error:
            self._close_reason = Failure(error)
        except Exception as error:
            self._close_reason = Failure(TLSError(describe_tls_error(error)))
        else:
            return True
        self.abortConnection()
        return False

    def _start_exchange(self) -> None:
        """Send what was kept, and let the inner protocol exchange bytes."""
        if self._paused:
            self.below.pauseProducing()
        self.ready = True
        early, self._pending_plaintext = self._pending_plaintext, []
        for data in early:
            self.write(data)
        self.handshake_done()

    def _decrypt(self, single_record: int = 0) -> None:
        """Decrypt until OpenSSL needs more ciphertext or the inner protocol pauses.

        :param single_record: size of the only record in the input BIO; 0 = not known.
        """
        if self._decrypting:
            return
        self._decrypting = self.undelivered = True
        try:
            if single_record:
                data = self._tls.recv(single_record)
                self.undelivered = False
                self.wrappedProtocol.dataReceived(data)
            while self.undelivered and not (self._paused or self._read_closed):
                self.wrappedProtocol.dataReceived(self._tls.recv(MAX_PLAINTEXT))
        except SSL.WantReadError:
            self.undelivered = False
            self._flush()  # may answer a key update
            if self._tcp_eof:
                self.unclean_eof = True
                self._end_of_input()
        except SSL.ZeroReturnError:
            self._end_of_input()
        except SSL.Error as error:
            self._fail(error)
        finally:
            self._decrypting = False

    def _end_of_input(self) -> None:
        self._read_closed, self.undelivered = True, False
        if not self.notify_half_close("readConnectionLost"):
            self.loseConnection()

    def _fail(self, error: Exception) -> None:
        """Close, with an alert to the peer if OpenSSL has written one."""
        self._close_reason = self._close_reason or Failure(TLSError(describe_tls_error(error)))
        self._read_closed = self._write_closed = True
        if self._flush():
            self.below.unregisterProducer()
            self.below.loseConnection()
        else:  # do not wait for a peer that violates TLS
            self.below.abortConnection()

    # -- from above: sending --------------------------------------------------

    def send(self, data: bytes, defer: bool = False) -> bool:
        """Encrypt and send ``data``; return whether the kernel has accepted all of it."""
        if self._write_closed or not data:
            return not data
        if not self.ready:
            self._pending_plaintext.append(data)
            return False
        try:
            return self._encrypt(data, defer)
        except SSL.Error as error:
            self._fail(error)
            return False

    def _encrypt(self, data: bytes, defer: bool) -> bool:
        """Encrypt record by record: one call of OpenSSL's may accept only a part."""
        taken = self._tls.send(data)
        while taken < len(data):
            if taken % _ENCRYPT_BATCH == 0:
                self._flush(defer)
            taken += self._tls.send(memoryview(data)[taken : taken + MAX_PLAINTEXT])
        return self._flush(defer, len(data))

    def _flush(self, defer: bool = False, plain: int = _ENCRYPT_BATCH) -> bool:
        """Send the output BIO's ciphertext; return whether the kernel has accepted all of it.

        :param plain: about how many bytes of plaintext were encrypted.
        """
        size = min(plain, _ENCRYPT_BATCH) + _MAX_OVERHEAD * (plain // MAX_PLAINTEXT + 1)
        while True:
            try:
                data = self._tls.bio_read(size)
            except SSL.WantReadError:
                return self.below_sender.queued() == 0
            taken = self.below_sender.send(data, defer)
            if len(data) < size:
                return taken

    # -- from above: receiving ------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing more, not even what was read already. The handshake continues."""
        self._paused = True
        if self.ready:
            self.below.pauseProducing()

    def flush_received(self) -> None:
        """Deliver what was read already, and read no more."""
        self._paused = False
        if self.ready:
            self._decrypt()
        if not self._paused:
            self.below_sender.flush_received()

    def resumeProducing(self) -> None:
        """Deliver again, starting with what was read already."""
        self.flush_received()
        if not self._paused:
            self.below.resumeProducing()

    # -- from above: ending ---------------------------------------------------

    def loseWriteConnection(self) -> None:
        """Send our close_notify, then FIN; the peer may continue to send."""
        self._send_close_notify()
        self.below.loseWriteConnection()

    def loseConnection(self) -> None:
        """Flush, send our close_notify, close; before the handshake: reset."""
        if not self.ready:
            self.abortConnection()
            return
        self._send_close_notify()
        self.disconnecting = True
        self.below.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection below."""
        self._read_closed = self._write_closed = self.disconnecting = True
        self.below.abortConnection()

    def _send_close_notify(self) -> None:
        if self.ready and not self._write_closed:
            self._write_closed = True
            try:
                self._tls.shutdown()
            except SSL.Error as error:
                self._close_reason = Failure(TLSError(describe_tls_error(error)))
            self._flush()

    # -- facts ----------------------------------------------------------------

    @property
    def tls_version(self) -> str:
        """The version of TLS, for instance ``TLSv1.3``."""
        return str(self._tls.get_protocol_version_name())

    @property
    def tls_peer(self) -> str:
        """The common name in the peer's certificate, not escaped.

        ``-`` if the peer sent no certificate, or a name that cannot be decoded: a CA may have
        signed what is no text.
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
        """Return OpenSSL's connection."""
        return cast(SSL.Connection, self._tls)
