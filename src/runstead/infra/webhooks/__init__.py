"""Webhooks leave the machine here: which addresses are called, how, and what happens when nobody answers."""
