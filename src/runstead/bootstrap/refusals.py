"""What a configuration asks for and this version does not do.

Where going on would break a promise of protection, the start is refused. Where something would merely be missing, or
data is kept in another place than the reference would keep it, a warning says so when the server starts (ADR 18).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.sources import GraphSource, SourceError, parse_source
from runstead.settings import Settings

AuthMode: TypeAlias = Literal["none", "keys", "langgraph"]


_WHERE: Final = "in the data directory, or in the database that the settings name"


class UnsupportedConfiguration(Exception):
    """A part of the configuration that this version would have to break in silence."""


def auth_mode(settings: Settings, configuration: GraphConfiguration) -> AuthMode:
    """How users of this server prove who they are."""
    return settings.auth or ("langgraph" if _handlers(configuration) else "none")


def _handlers(configuration: GraphConfiguration) -> str | None:
    return configuration.auth.path if configuration.auth else None


def refuse_what_cannot_be_kept(configuration: GraphConfiguration, settings: Settings) -> None:
    """Raises UnsupportedConfiguration."""
    place = configuration.file or configuration.directory
    if settings.auth == "langgraph" and not _handlers(configuration):
        raise UnsupportedConfiguration(
            f"{place}: auth.path: the settings ask for its handlers, and there are none; "
            'write {"auth": {"path": "./auth.py:auth"}}, or set auth to "keys"'
        )
    if auth_mode(settings, configuration) == "langgraph":
        try:
            parse_source("auth", str(_handlers(configuration)), configuration.directory)
        except SourceError as error:
            raise UnsupportedConfiguration(f"{place}: auth.path: {error.problem}") from error
    if configuration.encryption is not None:
        encryption_source(configuration)


def encryption_source(configuration: GraphConfiguration) -> GraphSource:
    """Where the handlers of encryption are that the configuration asks for. Raises UnsupportedConfiguration."""
    place = f"{configuration.file or configuration.directory}: encryption.path"
    target = (configuration.encryption or {}).get("path")
    if not isinstance(target, str) or not target:
        raise UnsupportedConfiguration(
            f'{place}: there is none; write {{"encryption": {{"path": "./encryption.py:encryption"}}}}'
        )
    try:
        return parse_source("encryption", target, configuration.directory)
    except SourceError as error:
        raise UnsupportedConfiguration(f"{place}: {error.problem}") from error


def without_effect(configuration: GraphConfiguration, settings: Settings) -> Iterator[str]:
    """Remarks on what was asked for and will not be there."""
    place, http = configuration.file or configuration.directory, configuration.http
    auth = configuration.auth
    asked = {
        "auth.path": (
            settings.auth in ("none", "keys") and _handlers(configuration),
            f"the setting auth is {settings.auth}",
        ),
        "auth.cache": (auth and auth.cache, "handlers are asked on every request"),
        "auth.allow_langsmith_api_keys": (
            auth and auth.allow_langsmith_api_keys,
            "keys of LangSmith are not accepted; the handlers are asked about every request",
        ),
        "checkpointer.path": (
            configuration.checkpointer.path,
            f"{configuration.checkpointer.path} is not used; checkpoints are kept {_WHERE}",
        ),
        "checkpointer.backend": (
            configuration.checkpointer.backend not in ("default", "custom"),
            f"{configuration.checkpointer.backend} is not used; checkpoints are kept {_WHERE}",
        ),
        "store.path": (configuration.store.path, f"{configuration.store.path} is not used; items are kept {_WHERE}"),
        "ui": (configuration.ui, "components for user interfaces are not served"),
        "store.ttl.strategy": (
            configuration.store.ttl and configuration.store.ttl.strategy != "delete",
            "an item has no past that could be kept; it is deleted",
        ),
        "http.middleware_order": (http.middleware_order and not http.app, "there is no http.app with middleware"),
        "http.enable_custom_route_auth": (
            http.enable_custom_route_auth and not http.app,
            "there is no http.app with routes",
        ),
    }
    for key, (value, told) in asked.items():
        if value:
            yield f"{place}: {key}: {told}"
