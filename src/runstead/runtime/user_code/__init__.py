"""Event loops and threads for user code, separate from the server's own loop."""
