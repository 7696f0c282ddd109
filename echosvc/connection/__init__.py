"""The life of a connection, the same for server and client."""
