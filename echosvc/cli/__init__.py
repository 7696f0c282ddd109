"""Everything that sees a command line, a terminal or an exit status."""
