"""Secrets of a run: passed along with the request, visible to its nodes, and never stored with the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from ..actor_context import ActorContext
from .types import RunId, RunSpec

SECRETS_KEY: Final = "__runstead_secrets"
"""The key of ``configurable`` with the names of a run's secrets. Only the server sets it, and no reader sees it."""


def secret_names(spec: RunSpec) -> tuple[str, ...]:
    """Return the names of a run's secrets."""
    return tuple(spec.config.get("configurable", {}).get(SECRETS_KEY, ()))


class SecretsLost(RuntimeError):
    """The run was created with secrets, which are gone: they survive no restart of the server, and a day at most."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"the secrets {', '.join(names)} of this run are gone; create the run again with its secrets")


class RunSecretStore(Protocol):
    """Keeps the secrets of runs for a time, outside of all storage."""

    async def put(self, actor: ActorContext, run_id: RunId, secrets: Mapping[str, str]) -> None:
        """Keep the secrets of a run that ``actor`` creates."""
        ...

    async def get(self, actor: ActorContext, run_id: RunId) -> Mapping[str, str] | None:
        """Return the secrets; None if they are gone."""
        ...

    async def discard(self, actor: ActorContext, run_id: RunId) -> None:
        """Forget the secrets of a run that has ended."""
        ...


_current: ContextVar[Mapping[str, str] | SecretsLost | None] = ContextVar("runstead_secrets", default=None)


def secrets() -> Mapping[str, str]:
    """Return the secrets of the run whose code calls this; empty for a run without any.

    Raises SecretsLost if there were some, and they are gone.
    """
    found = _current.get()
    if isinstance(found, SecretsLost):
        raise found
    return found or {}


@contextmanager
def bound_secrets(names: tuple[str, ...], found: Mapping[str, str] | None) -> Iterator[None]:
    """Bind the secrets of a run that has ``names`` of them, for the duration of a block."""
    value = SecretsLost(names) if names and found is None else found
    token = _current.set(value)
    try:
        yield
    finally:
        _current.reset(token)
