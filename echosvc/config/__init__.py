"""The settings of server and client: type, unit, default and check."""
