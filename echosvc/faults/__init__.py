"""Faults on purpose: what a relay does wrong to a stream."""
