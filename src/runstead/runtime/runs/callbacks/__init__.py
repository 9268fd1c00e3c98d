"""LangChain callbacks that collect a run's events, token usage and title."""
