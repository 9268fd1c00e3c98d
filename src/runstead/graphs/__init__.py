"""Graphs as users write them: langgraph.json, the files it names, and the factories that make agents of them."""
