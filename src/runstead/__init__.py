"""Runstead: the runtime for LangGraph agents.

The names that applications need are listed in ``__init__.pyi``, and imported on first use, so that ``import runstead``
and ``runstead --help`` stay fast. `runstead.runtime` has everything for embedding the kernel without a server.
"""

from __future__ import annotations

from .runtime.lazy_exports import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__)
