"""The version, alone, so that nothing need be imported to know it."""

__version__ = "0.1.0"
