"""Servers of others, for tests."""
