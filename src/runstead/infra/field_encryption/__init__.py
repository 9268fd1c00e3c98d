"""Stores with fields encrypted by user handlers: each wraps a store and implements the same port."""
