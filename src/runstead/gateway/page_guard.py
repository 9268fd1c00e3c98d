"""Refusal of requests from foreign web pages that a browser would send with the user's own privileges.

A browser on this machine reaches a loopback server without authentication on behalf of any page that it shows. Two
headers that scripts cannot set identify such requests: ``Host`` is the address in the page's URL, also after DNS
rebinding, and ``Origin`` is the page. With authentication, a foreign page lacks the credentials, except for cookies:
browsers send them with WebSockets, and with requests that need no preflight. (docs/adr/0029)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from runstead.wire.errors import Forbidden

from .auth.authentication import ACTOR, own_path
from .custom_app import CustomApp

_log = logging.getLogger(__name__)

_LOOPBACK: Final = r"(localhost|([a-z0-9-]+\.)+localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
LOOPBACK_ORIGINS: Final = rf"https?://{_LOOPBACK}"
"""Regular expression for origins of pages that this machine itself serves."""
_PROBES: Final = frozenset(("/ok", "/ready"))
"""Paths that load balancers request under any host name, and that reveal no data."""
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_LOGGED_AT_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Origins:
    """Origins of web pages: a list, in which ``*`` matches any, and a regular expression."""

    listed: Collection[str] = ()
    expression: str | None = None

    def __contains__(self, origin: object) -> bool:
        text = str(origin)
        return (
            "*" in self.listed
            or text in self.listed
            or (self.expression is not None and re.fullmatch(self.expression, text) is not None)
        )


@dataclass(frozen=True, slots=True)
class PagePolicy:
    """Host names of this server, and web pages that may call it, in addition to those of this machine.

    ``hosts`` are names such as ``chat.example.org``, ``*.example.org`` or ``*``, each with any port. ``authenticates``:
    the server authenticates users, so that pages matter only for requests with cookies.
    """

    hosts: Collection[str] = ()
    origins: Origins = Origins()
    authenticates: bool = False

    def check_cookies(self, scope: Scope, others: Origins | None = None) -> None:
        """Check the page of a request with cookies. Raises Forbidden. ``others``: see `check`."""
        headers = Headers(scope=scope)
        if not headers.get("cookie") or "origin" not in headers:
            return
        site = headers.get("sec-fetch-site")
        if scope["type"] == "http":
            # Otherwise, CORS keeps the page from reading the response, and its preflight from sending the request.
            is_crossing = scope["method"] not in _SAFE_METHODS and site == "cross-site"
        else:
            is_crossing = site != "same-origin"
        if is_crossing:
            # A proxy may have replaced the page's host by another one; pages can set neither header.
            self._check_origins([*headers.getlist("host"), *headers.getlist("x-forwarded-host")], headers, others)

    def _check_origins(self, hosts: Collection[str], headers: Headers, others: Origins | None) -> None:
        are_local = all(re.fullmatch(_LOOPBACK, host.lower()) for host in hosts)
        for origin in headers.getlist("origin"):
            if not (
                (are_local and re.fullmatch(LOOPBACK_ORIGINS, origin.lower())) or self._is_listed(origin, hosts, others)
            ):
                raise Forbidden(
                    f"This server does not take cookies for a page of {origin[:100]!r}; list the origin in the setting "
                    "allowed_origins, or in http.cors.allow_origins of langgraph.json"
                )

    def _is_listed(self, origin: str, hosts: Collection[str], others: Origins | None) -> bool:
        return (
            origin.lower().partition("://")[2] in {host.lower() for host in hosts}
            or origin in self.origins
            or (others is not None and origin in others)
        )

    def check(self, hosts: Collection[str], origins: Collection[str], others: Origins | None = None) -> None:
        """Check the values of a request's Host and Origin headers. Raises Forbidden.

        ``others`` are additional allowed origins.
        """
        for host in hosts or ("",):
            if not self._is_ours(host.lower()):
                raise Forbidden(
                    f"This server has no authentication and serves only names of this machine, not {host[:100]!r}; "
                    "call it as localhost or 127.0.0.1, or list the name in the setting allowed_hosts"
                )
        for origin in origins:
            if not (re.fullmatch(LOOPBACK_ORIGINS, origin.lower()) or self._is_listed(origin, hosts, others)):
                raise Forbidden(
                    f"This server has no authentication and serves only its own pages, not {origin[:100]!r}; "
                    "list the origin in the setting allowed_origins, or in http.cors.allow_origins of langgraph.json"
                )

    def _is_ours(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host)
        return bool(re.fullmatch(_LOOPBACK, host)) or any(
            allowed == "*" or name == allowed or (allowed.startswith("*.") and name.endswith(allowed[1:]))
            for allowed in self.hosts
        )


class PageGuard:
    """ASGI middleware around all routes, including those of the custom app. Raises Forbidden."""

    def __init__(self, app: ASGIApp, policy: PagePolicy, custom: Callable[[], CustomApp | None]) -> None:
        self._app, self._policy, self._custom = app, policy, custom
        self._logged: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # With an actor in the scope, the request comes from user code in this process, not from a browser.
        if scope["type"] != "lifespan" and ACTOR not in scope and own_path(scope) not in _PROBES:
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        if self._policy.authenticates and all(name != b"cookie" for name, _ in scope["headers"]):
            # The common case.
            return
        custom = self._custom()
        others = Origins(*custom.cors_origins) if custom else None
        headers = Headers(scope=scope)
        try:
            if not self._policy.authenticates:
                self._policy.check(headers.getlist("host"), headers.getlist("origin"), others)
            elif custom is None or custom.is_authenticated(scope):
                self._policy.check_cookies(scope, others)
        except Forbidden as refusal:
            self._log_once(str(refusal))
            raise

    def _log_once(self, text: str) -> None:
        """Log a refusal once: a page shows its user nothing of it, and no page may flood the log."""
        if text not in self._logged and len(self._logged) < _LOGGED_AT_MOST:
            self._logged.add(text)
            _log.warning("refused a request of a web page: %s", text)
