"""Credentials to actors. One file per way to prove who one is."""
