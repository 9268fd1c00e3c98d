"""One POST to a webhook: to an address that was checked, or to a route of this server, within a time, without following
redirects.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import httpx

from runstead.resources.webhooks import WebhookRefused

from .addresses import WebhookAddresses


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status, and how long to leave the receiver alone, in its own words."""

    status_code: int
    retry_after: str | None = None


class Unanswered(Exception):
    """No answer came: what happened instead. Trying again may help."""


class WebhookClient:
    """Posts bodies. ``timeout`` (seconds) is for all of one POST, from asking for the address to the answer."""

    def __init__(
        self, addresses: WebhookAddresses, http: httpx.AsyncClient, own: httpx.AsyncClient, *, timeout: float
    ) -> None:
        self._addresses, self._http, self._own, self._timeout = addresses, http, own, timeout

    @classmethod
    @asynccontextmanager
    async def running(
        cls, addresses: WebhookAddresses, *, timeout: float, own_routes: httpx.AsyncBaseTransport
    ) -> AsyncIterator[Self]:
        """Connections of its own, for the length of a block. ``own_routes`` leads to the routes of this server, as the
        bound actor.
        """
        # A proxy of the environment's would look the name up by itself, and connect to whatever that gives.
        async with (
            httpx.AsyncClient(
                transport=_CheckedTransport(addresses), trust_env=False, follow_redirects=False, timeout=timeout
            ) as http,
            httpx.AsyncClient(base_url="http://api", transport=own_routes, trust_env=False, timeout=timeout) as own,
        ):
            yield cls(addresses, http, own, timeout=timeout)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Raises WebhookRefused for an address that is not called, Unanswered when no answer came."""
        path = self._addresses.own_path(url)
        http, target = (self._http, self._addresses.parsed(url)) if path is None else (self._own, path)
        request = http.build_request("POST", target, content=body, headers=dict(headers))
        try:
            async with asyncio.timeout(self._timeout):
                response = await http.send(request, stream=True)
                # What it says beside its status is not read: it may be without end.
                await response.aclose()
        except TimeoutError as error:
            raise Unanswered(f"no answer within {self._timeout:g} s") from error
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise Unanswered(_told(error)) from error
        return Reply(response.status_code, response.headers.get("retry-after"))


class _CheckedTransport(httpx.AsyncBaseTransport):
    """Connects to the addresses that were checked, and to no other; names stay what TLS and the receiver see."""

    def __init__(self, addresses: WebhookAddresses) -> None:
        self._addresses = addresses
        self._opened: httpx.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, name = request.url, request.url.raw_host.decode("ascii")
        inner = await self._inner()
        failure: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in await self._addresses.of(url):
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": name},
            )
            try:
                return await inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Nothing has been sent yet: a name may stand for one address that is gone and one that is there.
                failure = error
        raise failure or WebhookRefused("Webhook host blocked: DNS resolution failed")

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def _inner(self) -> httpx.AsyncHTTPTransport:
        """Made for the first webhook: reading the certificates of the authorities takes longer than the rest of a
        server's start.
        """
        if self._opened is None:
            context = await asyncio.to_thread(httpx.create_ssl_context)
            # No connection is kept: one that was proved to be of one name must not serve another at the same address.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._opened = self._opened or httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)
        return self._opened


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500] if str(error) else type(error).__name__
