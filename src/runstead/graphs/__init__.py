"""Graphs of users: langgraph.json, the files that it names, and the factories that build agents from them."""
