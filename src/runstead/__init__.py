"""Runstead: the runtime that LangGraph agents live in."""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # Looked up when asked for: reading the metadata takes longer than all of `runstead --help` should.
    if name == "__version__":
        from importlib.metadata import version

        return version("runstead")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
