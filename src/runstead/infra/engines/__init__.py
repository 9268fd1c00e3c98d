"""Engines: opened, checked and closed here; what is stored in them is decided by those who use them."""
