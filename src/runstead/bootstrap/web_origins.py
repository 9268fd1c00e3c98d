"""Web pages that may call this server, according to the settings and langgraph.json."""

from __future__ import annotations

from runstead.gateway.api import Cors
from runstead.gateway.page_guard import LOOPBACK_ORIGINS, Origins, PagePolicy
from runstead.graphs.configuration import GraphConfiguration
from runstead.settings import Settings

from .unsupported import auth_mode


def cors_options(settings: Settings, configuration: GraphConfiguration) -> Cors:
    """Return the CORS options of langgraph.json; by default all origins with authentication, and those of this machine
    without."""
    listed = _listed(settings)
    if (part := configuration.http.cors) is None:
        if listed or auth_mode(settings, configuration) == "none":
            return Cors(allow_origins=listed, allow_origin_regex=LOOPBACK_ORIGINS)
        return Cors()
    return Cors(
        allow_origins=[*part.allow_origins, *listed],
        allow_methods=part.allow_methods,
        allow_headers=part.allow_headers,
        allow_credentials=part.allow_credentials,
        allow_origin_regex=part.allow_origin_regex,
        allow_private_network=part.allow_private_network,
        expose_headers=part.expose_headers,
        max_age=part.max_age,
    )


def page_policy(settings: Settings, configuration: GraphConfiguration) -> PagePolicy:
    """Return which pages the server accepts and, without authentication, which host names."""
    part = configuration.http.cors
    hosts = settings.allowed_hosts
    if hosts is None and settings.allow_unauthenticated:
        # The operator has explicitly opened the server to everyone who can reach it, under any host name.
        hosts = ("*",)
    origins = [*(part.allow_origins if part else ()), *_listed(settings)]
    return PagePolicy(
        hosts=[host.lower() for host in hosts or ()],
        origins=Origins(origins, part.allow_origin_regex if part else None),
        authenticates=auth_mode(settings, configuration) != "none",
    )


def _listed(settings: Settings) -> list[str]:
    return [origin.rstrip("/") for origin in settings.allowed_origins or ()]
