"""Extensions that langgraph.json names: authentication, a custom app, and the embedder of the store."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
from langchain_core.embeddings import Embeddings
from starlette.applications import Starlette

from runstead.auth.api_keys import ApiKeyAuthentication
from runstead.auth.custom import CustomAuthentication, InvalidAuthenticator
from runstead.auth.langgraph_auth import InvalidAuth, LangGraphAuth, check_auth
from runstead.auth.none import LOCAL_ACTOR, NoAuthentication
from runstead.auth.roles import RoleAuthentication, RoleScopes
from runstead.gateway.custom_app import CustomApp
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.embeddings import EmbedderLoadError, load_embeddings
from runstead.graphs.modules import GraphLoadError, extend_search_path, load_variable
from runstead.graphs.sources import SourceError, parse_source
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.database import Database
from runstead.installation import install_command
from runstead.runtime.actor_context import SERVER_ACTOR, ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings
from runstead.wire.authorization import Authorizer
from runstead.wire.credentials import Authenticator
from runstead.wire.logouts import LogoutTokens

from .unsupported import UnsupportedConfiguration, auth_mode, check_configuration

if TYPE_CHECKING:
    from runstead.auth.oidc import OidcAuthentication

_ISSUER_TIMEOUT: Final = 10.0
"""Seconds that the OIDC issuer may take to answer."""


@dataclass(frozen=True, slots=True)
class AuthProviders:
    """Configured authenticator and optional authorizer. ``logouts`` verifies the logouts that an issuer reports."""

    authenticator: Authenticator
    authorizer: Authorizer | None = None
    logouts: LogoutTokens | None = None
    own_actor: ActorContext = SERVER_ACTOR
    """Actor of the author's code that does not act for a user: the single user, or the server."""


def load_auth(settings: Settings, configuration: GraphConfiguration) -> object:
    """Load the ``Auth`` object that langgraph.json names, or the authenticator of the settings; None if authentication
    uses neither. Runs the user's module, so it blocks.

    Raises UnsupportedConfiguration: a server without its configured authentication must not start.
    """
    check_configuration(configuration, settings)
    if settings.authenticator is not None and auth_mode(settings, configuration) == "custom":
        return load_authenticator(settings.authenticator, configuration)
    if auth_mode(settings, configuration) != "langgraph":
        return None
    target = str(configuration.auth.path) if configuration.auth else ""
    place = f"{configuration.file or configuration.directory}: auth.path"
    extend_search_path(configuration.search_paths)
    try:
        auth = load_variable(parse_source("auth", target, configuration.directory))
        check_auth(auth)
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"{place}: {target} cannot be loaded: {error.problem}") from error
    except InvalidAuth as error:
        raise UnsupportedConfiguration(f"{place}: {target} cannot be used: {error}") from error
    return auth


@asynccontextmanager
async def open_auth(
    settings: Settings,
    configuration: GraphConfiguration,
    auth: Any,
    database: Database,
    clock: Clock,
    user_loop: UserLoop,
) -> AsyncIterator[AuthProviders]:
    """Open the authentication of this server, for the duration of a block. ``auth`` is the result of `load_auth`."""
    match auth_mode(settings, configuration):
        case "none":
            yield AuthProviders(NoAuthentication(anywhere=settings.allow_unauthenticated), own_actor=LOCAL_ACTOR)
        case "keys":
            yield AuthProviders(ApiKeyAuthentication(SqlApiKeyStore(database), clock))
        case "oidc":
            async with _oidc(settings, clock) as tokens:
                yield AuthProviders(tokens, logouts=tokens)
        case "custom":
            yield AuthProviders(auth)
        case "langgraph":
            handlers = LangGraphAuth(auth, user_loop, stored_fields=settings.auth_stored_fields)
            yield AuthProviders(handlers, handlers if handlers.decides else None)


def load_authenticator(target: str, configuration: GraphConfiguration) -> CustomAuthentication:
    """Return the operator's own authenticator. Raises UnsupportedConfiguration."""
    extend_search_path(configuration.search_paths)
    try:
        found = load_variable(parse_source("authenticator", target, configuration.directory))
        # A class or a function makes it; an instance is it.
        return CustomAuthentication(found() if isinstance(found, type) or inspect.isfunction(found) else found)
    except SourceError as error:
        raise UnsupportedConfiguration(f"authenticator: {error.problem}") from error
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"authenticator: {target} cannot be loaded: {error.problem}") from error
    except InvalidAuthenticator as error:
        raise UnsupportedConfiguration(f"authenticator: {target} cannot be used: {error}") from error


@asynccontextmanager
async def _oidc(settings: Settings, clock: Clock) -> AsyncIterator[OidcAuthentication]:
    """Raises UnsupportedConfiguration where the extra is not installed."""
    try:
        from runstead.auth.oidc import OidcAuthentication, OidcOptions
        from runstead.auth.signing_keys import SigningKeys
    except ImportError as error:
        raise UnsupportedConfiguration(
            f"auth: oidc needs a package that is not installed ({error.name}); {install_command('oidc')}"
        ) from error
    assert settings.oidc_issuer is not None, "the settings check this"
    options = OidcOptions(
        issuer=settings.oidc_issuer,
        audiences=settings.oidc_audience,
        algorithms=settings.oidc_algorithms,
        leeway_seconds=settings.oidc_leeway_seconds,
        user_claim=settings.oidc_user_claim,
        tenant_claim=settings.oidc_tenant_claim,
        scope_claims=settings.oidc_scope_claims,
    )
    async with httpx.AsyncClient(timeout=_ISSUER_TIMEOUT, follow_redirects=False) as client:
        keys = SigningKeys(
            client,
            clock,
            settings.oidc_issuer,
            jwks_url=settings.oidc_jwks_url,
            max_age=timedelta(seconds=settings.oidc_jwks_seconds),
        )
        yield OidcAuthentication(options, keys, clock)


def with_roles(providers: AuthProviders, settings: Settings) -> Authenticator:
    """Return the authenticator, with roles by scope. Auth handlers decide themselves what users have access to."""
    scopes = RoleScopes(settings.admin_scope, settings.operator_scope)
    if providers.authorizer is not None or scopes == RoleScopes():
        return providers.authenticator
    return RoleAuthentication(providers.authenticator, scopes)


def load_custom_app(configuration: GraphConfiguration) -> CustomApp | None:
    """Load the app; None if none is named. Runs the user's module, so it blocks.

    Raises UnsupportedConfiguration, since routes on which clients rely would be missing.
    """
    http = configuration.http
    if http.app is None:
        return None
    place = f"{configuration.file or configuration.directory}: http.app"
    extend_search_path(configuration.search_paths)
    try:
        app = load_variable(parse_source("app", http.app, configuration.directory))
    except SourceError as error:
        raise UnsupportedConfiguration(f"{place}: {error.problem}") from error
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"{place}: {http.app} cannot be loaded: {error.problem}") from error
    if not isinstance(app, Starlette):
        raise UnsupportedConfiguration(
            f"{place}: {http.app} is a {type(app).__name__}; it must be an app of Starlette or FastAPI"
        )
    return CustomApp(app, auth_first=http.middleware_order == "auth_first", authenticated=http.enable_custom_route_auth)


def load_embedder(configuration: GraphConfiguration) -> Embeddings | None:
    """Load the embedder that ``store.index.embed`` names; None if there is no index. Runs the user's module, so it
    blocks.

    Raises UnsupportedConfiguration, since stored items would never be found.
    """
    try:
        return load_embeddings(configuration)
    except EmbedderLoadError as error:
        raise UnsupportedConfiguration(f"{configuration.file or configuration.directory}: {error}") from error
