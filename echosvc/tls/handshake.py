"""A TLS handshake in memory, to check that a certificate and its key can be used.

OpenSSL loads pairs that it cannot use: keys of kinds or curves that TLS does not have, or a key
that is not of the certificate's kind. It reports that only in handshakes, to every client.
"""

from __future__ import annotations

from OpenSSL import SSL

#: Most flights of a handshake in each direction, plus one.
_FLIGHTS = 4


def try_handshake(context: SSL.Context, newest: int = 0) -> None:
    """Run a handshake of a server with this context and a client that verifies nothing.

    The server requests no client certificate here, whatever the context requires.

    :param newest: the newest version of the client; 0 = the newest that OpenSSL has.
    :raises OpenSSL.SSL.Error: the handshake fails.
    """
    server = SSL.Connection(context)
    server.set_verify(SSL.VERIFY_NONE)
    server.set_accept_state()
    client = SSL.Connection(_insecure_client(newest))
    client.set_connect_state()
    for _ in range(_FLIGHTS):
        if all([_advance(client, server), _advance(server, client)]):
            return
    raise SSL.Error([("", "", "the handshake does not end")])


def _insecure_client(newest: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_max_proto_version(newest)
    return context


def _advance(end: SSL.Connection, other: SSL.Connection) -> bool:
    """Continue with one side; return whether its handshake is complete."""
    done = True
    try:
        end.do_handshake()
    except SSL.WantReadError:
        done = False
    try:
        while True:
            other.bio_write(end.bio_read(65536))
    except SSL.WantReadError:
        return done
