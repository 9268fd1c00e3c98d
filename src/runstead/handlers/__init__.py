"""Handlers that langgraph.json names: encryption of fields, and priorities of runs."""
