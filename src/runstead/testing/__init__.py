"""Tools for tests of agents, of the runtime and of third-party adapters. Product code does not import them.

The names that tests of agents need are listed in ``__init__.pyi``, and imported on first use; the fixtures of pytest
are in `runstead.testing.pytest_plugin`.
"""

from __future__ import annotations

from runstead.runtime.lazy_exports import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__)
