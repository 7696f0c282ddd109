"""A TLS handshake in memory: whether a certificate and its key can be used at all.

OpenSSL takes pairs that it cannot use: keys of kinds or curves that TLS does not have, a
key that is not of the certificate's kind. It says so to every client, and never before.
"""

from __future__ import annotations

from OpenSSL import SSL

#: Flights that a handshake has at most, each way, and one to spare.
_FLIGHTS = 4


def try_handshake(context: SSL.Context, newest: int = 0) -> None:
    """Let a server with this context shake hands with a client that accepts anybody.

    The server asks this one for no certificate, whatever it demands of others.

    :param newest: the newest version that the client speaks; 0 = the newest there is.
    :raises OpenSSL.SSL.Error: they cannot.
    """
    server = SSL.Connection(context)
    server.set_verify(SSL.VERIFY_NONE)
    server.set_accept_state()
    client = SSL.Connection(_anybody(newest))
    client.set_connect_state()
    for _ in range(_FLIGHTS):
        if all([_advance(client, server), _advance(server, client)]):
            return
    raise SSL.Error([("", "", "the handshake does not end")])


def _anybody(newest: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_max_proto_version(newest)
    return context


def _advance(end: SSL.Connection, other: SSL.Connection) -> bool:
    """Go on with one side; give whether it has finished."""
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
