"""Adapter of the archive of streams."""
