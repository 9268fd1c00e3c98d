"""Stores whose fields are encrypted by handlers: each is around a store, and looks to its callers like that one."""
