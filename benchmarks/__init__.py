"""What the service costs, measured beside other echo servers: ``python -m benchmarks``."""
