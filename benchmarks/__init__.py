"""Benchmarks: Runstead compared with the smallest server that streams the same graph, on the same machine."""
