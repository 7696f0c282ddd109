"""Every setting: its type, unit, default and check."""
