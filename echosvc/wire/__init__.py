"""Bytes to messages and back. Standard library only, no I/O."""
