"""Encryption at rest: ciphers for what is stored, and the form that encrypted values have."""
