"""Servers of others that we start ourselves, from what is on the machine or from PyPI wheels: no Docker, no set-up."""
