"""Kernel: creates, executes, streams and isolates runs. Independent of HTTP, SQL and Redis.

This is the public surface; import from here. Adapters for its ports live in `runstead.infra`.

The names are listed in ``__init__.pyi``, and imported on first use, so that a module such as
`runstead.runtime.json_types` does not import LangChain.
"""

from __future__ import annotations

from .lazy_exports import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__)
