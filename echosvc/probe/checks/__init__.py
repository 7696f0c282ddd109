"""The probes of ``echosvc check``."""
