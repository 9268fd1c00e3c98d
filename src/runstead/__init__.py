"""Runstead: the runtime that LangGraph agents live in."""

from importlib.metadata import version

__version__ = version("runstead")
