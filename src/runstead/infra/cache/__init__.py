"""Caches for values that user code shares between runs."""
