"""Refusal of web pages from elsewhere, where the browser itself brings what they lack.

A browser on this machine reaches a loopback server without authentication on behalf of any page that it shows. Two
headers that scripts cannot set tell such requests apart: ``Host`` names the address in the page's URL, also after DNS
rebinding, and ``Origin`` names the page. Where users prove who they are, a foreign page lacks the credentials, except
for cookies: they go along with WebSockets, and with requests that need no preflight. (docs/adr/0029)
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

from .authentication import ACTOR, own_path
from .custom_app import CustomApp

_log = logging.getLogger(__name__)

_LOOPBACK: Final = r"(localhost|([a-z0-9-]+\.)+localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
LOOPBACK_ORIGINS: Final = rf"https?://{_LOOPBACK}"
"""Expression for origins of pages that this machine itself serves."""
_PROBES: Final = frozenset(("/ok", "/ready"))
"""Load balancers ask for them under any name, and they tell nothing."""
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_LOGGED_AT_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Origins:
    """Origins of web pages: a list, in which ``*`` is any, and an expression."""

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
    """The names that this server is called by, and the pages that may call it, beside those of this machine.

    ``hosts`` are names such as ``chat.example.org``, ``*.example.org`` or ``*``, each with any port.
    ``authenticates``: users prove who they are, so that pages matter only where cookies come along.
    """

    hosts: Collection[str] = ()
    origins: Origins = Origins()
    authenticates: bool = False

    def check_cookies(self, scope: Scope, others: Origins | None = None) -> None:
        """Check who may make the browser send its cookies. Raises Forbidden. ``others``: see `check`."""
        headers = Headers(scope=scope)
        if not headers.get("cookie") or "origin" not in headers:
            return
        site = headers.get("sec-fetch-site")
        if scope["type"] == "http":
            # Others are kept from the answer by CORS, and from sending by its preflight.
            is_crossing = scope["method"] not in _SAFE_METHODS and site == "cross-site"
        else:
            is_crossing = site != "same-origin"
        if is_crossing:
            # A proxy may have put another host into the place of the page's; pages can set neither.
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

        ``others`` are allowed origins too.
        """
        for host in hosts or ("",):
            if not self._is_ours(host.lower()):
                raise Forbidden(
                    f"This server knows no users and answers to names of this machine alone, not to {host[:100]!r}; "
                    "call it as localhost or 127.0.0.1, or list the name in the setting allowed_hosts"
                )
        for origin in origins:
            if not (re.fullmatch(LOOPBACK_ORIGINS, origin.lower()) or self._is_listed(origin, hosts, others)):
                raise Forbidden(
                    f"This server knows no users and answers web pages of this machine alone, not of {origin[:100]!r}; "
                    "list the origin in the setting allowed_origins, or in http.cors.allow_origins of langgraph.json"
                )

    def _is_ours(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host)
        return bool(re.fullmatch(_LOOPBACK, host)) or any(
            allowed == "*" or name == allowed or (allowed.startswith("*.") and name.endswith(allowed[1:]))
            for allowed in self.hosts
        )


class PageGuard:
    """ASGI middleware around all routes, those of the custom app included. Raises Forbidden."""

    def __init__(self, app: ASGIApp, policy: PagePolicy, custom: Callable[[], CustomApp | None]) -> None:
        self._app, self._policy, self._custom = app, policy, custom
        self._logged: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # An actor in the scope: user code of this process is asking, and no browser.
        if scope["type"] != "lifespan" and ACTOR not in scope and own_path(scope) not in _PROBES:
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        if self._policy.authenticates and all(name != b"cookie" for name, _ in scope["headers"]):
            # Nearly all requests.
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
        """A page shows its user nothing of a refusal: the log has to, and no page may fill it."""
        if text not in self._logged and len(self._logged) < _LOGGED_AT_MOST:
            self._logged.add(text)
            _log.warning("refused a request of a web page: %s", text)
