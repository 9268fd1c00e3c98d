"""Faults 11 to 20, each impossible here (being written by the owner of this folder)."""
