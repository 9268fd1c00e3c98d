"""Faults 21 to 31, each impossible here (being written by the owner of this folder)."""
