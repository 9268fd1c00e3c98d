"""Where user code runs: event loops and threads apart from the server's own loop."""
