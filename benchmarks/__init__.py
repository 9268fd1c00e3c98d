"""Benchmarks of our own: Runstead beside the smallest server that streams the same graph, on the same machine."""
