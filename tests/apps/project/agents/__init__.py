"""Agents in the style of published ones, with their real dependencies."""
