"""Encryption at rest: ciphers for stored data, and the format of encrypted values."""
