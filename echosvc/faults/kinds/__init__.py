"""The kinds of faults, each a class: time, ends, bytes."""
