"""Dispatchers: how waiting runs come to workers."""
