"""Runstead: the runtime for LangGraph agents.

The names that applications need are imported on first use, so that ``import runstead`` and ``runstead --help`` stay
fast. `runstead.runtime` has everything for embedding the kernel without a server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .bootstrap.application import Application
    from .runtime.actor_context import ActorContext, acting, actor
    from .runtime.runs.facade import RunsFacade
    from .runtime.runs.secrets import secrets
    from .runtime.runs.types import RunScope, RunSpec
    from .settings import Settings
    from .version import __version__

__all__ = [
    "ActorContext",
    "Application",
    "RunScope",
    "RunSpec",
    "RunsFacade",
    "Settings",
    "__version__",
    "acting",
    "actor",
    "secrets",
]

_MODULES: Final = {
    "ActorContext": "runstead.runtime",
    "Application": "runstead.bootstrap.application",
    "RunScope": "runstead.runtime",
    "RunSpec": "runstead.runtime",
    "RunsFacade": "runstead.runtime",
    "Settings": "runstead.settings",
    "__version__": "runstead.version",
    "acting": "runstead.runtime",
    "actor": "runstead.runtime.actor_context",
    "secrets": "runstead.runtime.runs.secrets",
}


if not TYPE_CHECKING:  # A type checker would accept every misspelled name.

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
