"""One POST to a webhook, at a checked address or a route of this server, with a time limit and without redirects."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import httpx

from runstead.resources.webhooks import WebhookRefused

from .url_policy import WebhookUrls


@dataclass(frozen=True, slots=True)
class Reply:
    """The response: the status, and the ``Retry-After`` header as sent by the receiver."""

    status_code: int
    retry_after: str | None = None


class NoResponse(Exception):
    """No response was received; the text is the reason. A retry may succeed."""


class WebhookClient:
    """Posts bodies. ``timeout`` (seconds) covers one whole POST, from the address lookup to the response."""

    def __init__(
        self, addresses: WebhookUrls, http: httpx.AsyncClient, own: httpx.AsyncClient, *, timeout: float
    ) -> None:
        self._addresses, self._http, self._own, self._timeout = addresses, http, own, timeout

    @classmethod
    @asynccontextmanager
    async def running(
        cls, addresses: WebhookUrls, *, timeout: float, own_routes: httpx.AsyncBaseTransport
    ) -> AsyncIterator[Self]:
        """Open connections for the length of a block. ``own_routes`` calls this server's routes as the bound actor."""
        # No proxy from the environment: it would resolve the name itself and connect to an unchecked address.
        async with (
            httpx.AsyncClient(
                transport=_CheckedTransport(addresses), trust_env=False, follow_redirects=False, timeout=timeout
            ) as http,
            httpx.AsyncClient(base_url="http://api", transport=own_routes, trust_env=False, timeout=timeout) as own,
        ):
            yield cls(addresses, http, own, timeout=timeout)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a POST. Raises WebhookRefused for a forbidden address, Unanswered if there was no response."""
        path = self._addresses.own_path(url)
        http, target = (self._http, self._addresses.parsed(url)) if path is None else (self._own, path)
        request = http.build_request("POST", target, content=body, headers=dict(headers))
        try:
            async with asyncio.timeout(self._timeout):
                response = await http.send(request, stream=True)
                # The body of the response is not read: it may be endless.
                await response.aclose()
        except TimeoutError as error:
            raise NoResponse(f"no answer within {self._timeout:g} s") from error
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise NoResponse(_error_text(error)) from error
        return Reply(response.status_code, response.headers.get("retry-after"))


class _CheckedTransport(httpx.AsyncBaseTransport):
    """Connects only to checked addresses; TLS and the receiver still see the host name."""

    def __init__(self, addresses: WebhookUrls) -> None:
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
                # Nothing has been sent yet: one address of a name may be unreachable while another one works.
                failure = error
        raise failure or WebhookRefused("Webhook host blocked: DNS resolution failed")

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def _inner(self) -> httpx.AsyncHTTPTransport:
        """Return the transport, which is created for the first webhook.

        Loading the CA certificates takes longer than the rest of a server's start.
        """
        if self._opened is None:
            context = await asyncio.to_thread(httpx.create_ssl_context)
            # No connection is reused: one that was verified for one name must not serve another name at the same
            # address.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._opened = self._opened or httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)
        return self._opened


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500] if str(error) else type(error).__name__
