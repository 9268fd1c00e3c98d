"""Agents in the shape of what people publish, with their real dependencies."""
