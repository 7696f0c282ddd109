"""Results of probes as documents. No I/O."""
