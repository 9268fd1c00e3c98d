"""Configuration that this version does not support.

If ignoring it would break a promise of protection, the server refuses to start. If something would merely be missing,
or data is stored elsewhere than in the reference server, a warning is logged at the start (ADR 18).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.sources import GraphSource, SourceError, parse_source
from runstead.settings import Settings

AuthMode: TypeAlias = Literal["none", "keys", "oidc", "langgraph", "custom"]


_WHERE: Final = "in the data directory, or in the database that the settings name"


class UnsupportedConfiguration(Exception):
    """A part of the configuration that this version would otherwise silently ignore."""


def auth_mode(settings: Settings, configuration: GraphConfiguration) -> AuthMode:
    """Return the mode of authentication."""
    if settings.auth is not None:
        return settings.auth
    if settings.authenticator is not None:
        return "custom"
    if settings.oidc_issuer is not None:
        return "oidc"
    return "langgraph" if _handlers(configuration) else "none"


def _handlers(configuration: GraphConfiguration) -> str | None:
    return configuration.auth.path if configuration.auth else None


def check_configuration(configuration: GraphConfiguration, settings: Settings) -> None:
    """Raise UnsupportedConfiguration for configuration that this version must not ignore."""
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
    """Return the source of the configured encryption handlers. Raises UnsupportedConfiguration."""
    place = f"{configuration.file or configuration.directory}: encryption.path"
    target = (configuration.encryption or {}).get("path")
    if not isinstance(target, str) or not target:
        raise UnsupportedConfiguration(
            f'{place}: the path is missing; write {{"encryption": {{"path": "./encryption.py:encryption"}}}}'
        )
    try:
        return parse_source("encryption", target, configuration.directory)
    except SourceError as error:
        raise UnsupportedConfiguration(f"{place}: {error.problem}") from error


def without_effect(configuration: GraphConfiguration, settings: Settings) -> Iterator[str]:
    """Yield warnings about configuration that has no effect."""
    place, http = configuration.file or configuration.directory, configuration.http
    auth = configuration.auth
    asked = {
        "auth.path": (
            auth_mode(settings, configuration) != "langgraph" and _handlers(configuration),
            f"the setting auth is {auth_mode(settings, configuration)}",
        ),
        "auth.cache": (auth and auth.cache, "handlers are called on every request"),
        "auth.allow_langsmith_api_keys": (
            auth and auth.allow_langsmith_api_keys,
            "LangSmith API keys are not accepted; the handlers are called on every request",
        ),
        "checkpointer.path": (
            configuration.checkpointer.path,
            f"{configuration.checkpointer.path} is not used; checkpoints are stored {_WHERE}",
        ),
        "checkpointer.backend": (
            configuration.checkpointer.backend not in ("default", "custom"),
            f"{configuration.checkpointer.backend} is not used; checkpoints are stored {_WHERE}",
        ),
        "store.path": (configuration.store.path, f"{configuration.store.path} is not used; items are stored {_WHERE}"),
        "ui": (configuration.ui, "components for user interfaces are not served"),
        "store.ttl.strategy": (
            configuration.store.ttl and configuration.store.ttl.strategy != "delete",
            "items have no history, so expired items are deleted",
        ),
        "http.middleware_order": (http.middleware_order and not http.app, "there is no http.app with middleware"),
        "http.enable_custom_route_auth": (
            http.enable_custom_route_auth and not http.app,
            "there is no http.app with routes",
        ),
    }
    for key, (value, explanation) in asked.items():
        if value:
            yield f"{place}: {key}: {explanation}"
