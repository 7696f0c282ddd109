"""One verified connection, and what its bytes mean."""
