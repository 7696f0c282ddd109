"""Sockets, epoll, listeners and names. Knows no echo, no configuration, no TLS."""
