"""Operator's choices, each an implementation of a port of the wire or the kernel."""
