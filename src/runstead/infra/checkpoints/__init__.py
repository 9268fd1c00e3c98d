"""Checkpoints of graphs, and the operations on them that only the kernel needs."""
