"""Authenticators: from credentials to actors. One file per mode of authentication."""
