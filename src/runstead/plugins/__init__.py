"""Choices an operator makes, each behind a port of the wire or the kernel."""
