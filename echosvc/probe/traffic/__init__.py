"""Messages at a rate, their verified replies, and what is counted of them. No I/O, no Twisted."""
