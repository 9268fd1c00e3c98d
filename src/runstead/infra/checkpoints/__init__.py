"""Checkpoints of graphs, and what the kernel asks of them beyond what a graph does."""
