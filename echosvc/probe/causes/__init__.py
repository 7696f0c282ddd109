"""Causes that make several probes fail, each found by an experiment."""
