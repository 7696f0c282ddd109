"""Who answers: the shares of the servers behind a path."""
