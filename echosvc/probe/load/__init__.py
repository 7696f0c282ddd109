"""``echosvc load``: connections that carry messages at a rate, or as fast as they are answered."""
