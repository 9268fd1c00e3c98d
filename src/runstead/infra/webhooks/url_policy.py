"""Resolve a webhook's URL to IP addresses that may be called.

A host name is resolved once per connection, every address is checked, and the connection uses exactly the checked
addresses: a DNS record that changes a moment later has no effect (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

import httpx

from runstead.resources.webhooks import WebhookRefused

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host as text. Raises OSError or TimeoutError if there are none."""

RESOLVE_WITHIN: Final = 5.0
"""Seconds."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_METADATA_NAMES: Final = frozenset(("metadata", "metadata.google.internal", "metadata.goog", "instance-data"))


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """The rules for webhook URLs from langgraph.json's ``webhooks.url`` and the settings.

    ``allowed_domains`` are exact names, or ``*.example.org`` for all names below that one; empty allows all. Empty
    ``allowed_ports`` allow all. ``allow_loopback`` is for development, ``allow_private`` for a private network.
    """

    require_https: bool = False
    allowed_domains: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = ()
    max_url_length: int = 4096
    allow_loopback: bool = False
    allow_private: bool = False
    disabled: bool = False


class WebhookUrls:
    """The WebhookGate of this server; connections also use it to get their addresses."""

    def __init__(self, policy: UrlPolicy, resolve: Resolve) -> None:
        self._policy, self._resolve = policy, resolve

    async def check(self, url: str) -> None:
        """Check that a webhook URL may be called. Raises WebhookRefused."""
        if self.own_path(url) is None:
            await self.of(self.parsed(url))

    def own_path(self, text: str) -> str | None:
        """Return ``text`` if it is a path of this server's own routes, None if it is a URL. Raises WebhookRefused."""
        if not text.startswith("/") or text.startswith("//"):
            return None
        self._check_text(text)
        if not self._policy.allow_loopback:
            raise WebhookRefused(
                "Webhooks to paths of the server itself are disabled; set webhooks.url.disable_loopback to false in "
                "langgraph.json, or give an absolute URL"
            )
        try:
            return str(httpx.URL(text).raw_path, "ascii")
        except (httpx.InvalidURL, ValueError) as error:
            raise WebhookRefused("Webhook is not a valid path; write it like /hook") from error

    def _check_text(self, text: str) -> None:
        if self._policy.disabled:
            raise WebhookRefused("Webhooks are disabled on this server; leave webhook out, and poll or join the run")
        if len(text) > self._policy.max_url_length:
            raise WebhookRefused("Webhook URL too long")

    def parsed(self, text: str) -> httpx.URL:
        """Return the parsed URL after all checks that need no DNS lookup. Raises WebhookRefused."""
        policy = self._policy
        self._check_text(text)
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise WebhookRefused("Webhook is not a valid URL; write it like https://example.org/hook") from error
        if policy.require_https and url.scheme != "https":
            raise WebhookRefused("Webhook must use https")
        if url.scheme not in _DEFAULT_PORTS or not _host(url):
            raise WebhookRefused("Webhook must be an absolute http or https URL, like https://example.org/hook")
        if not 0 < _port(url) < 65536:
            raise WebhookRefused("Webhook is not a valid URL; a port is a number from 1 to 65535")
        if url.userinfo:
            raise WebhookRefused("Webhook must not carry a user or password; set a header in langgraph.json instead")
        if policy.allowed_ports and _port(url) not in policy.allowed_ports:
            raise WebhookRefused(f"Webhook port {_port(url)} not allowed")
        if policy.allowed_domains and not any(_is_below(_host(url), domain) for domain in policy.allowed_domains):
            raise WebhookRefused("Webhook domain not allowed")
        return url

    async def of(self, url: httpx.URL) -> Sequence[str]:
        """Return the addresses to connect to. Raises WebhookRefused if any of them must not be called."""
        host = _host(url)
        if host in _METADATA_NAMES:
            raise _blocked(METADATA)
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            found = list(await self._resolved(host, _port(url)))
        for text in found:
            if (reason := self._why_blocked(text)) is not None:
                raise _blocked(reason)
        return found

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        try:
            async with asyncio.timeout(RESOLVE_WITHIN):
                found = await self._resolve(host, port)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise _blocked("DNS resolution failed") from error
        if not found:
            raise _blocked("DNS resolution failed")
        return found

    def _why_blocked(self, text: str) -> str | None:
        try:
            # A zone ("%eth0") only has a meaning on a link of this machine.
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return "blocked IP range"
        policy = self._policy
        return why_blocked(address, allow_loopback=policy.allow_loopback, allow_private=policy.allow_private)


class SystemResolver:
    """The system's resolver, in threads of its own: a name server that hangs must not block other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="webhook-dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _blocked(reason: str) -> WebhookRefused:
    return WebhookRefused(f"Webhook host blocked: {reason}")


def _host(url: httpx.URL) -> str:
    """Return the host for the lookup, in ASCII and without the optional final dot."""
    return url.raw_host.decode("ascii").lower().rstrip(".")


def _port(url: httpx.URL) -> int:
    return _DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def _is_below(host: str, domain: str) -> bool:
    domain = domain.strip().lower().rstrip(".")
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain


IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK: Final = "loopback IP range"
PRIVATE: Final = "private IP range"
BLOCKED: Final = "blocked IP range"
METADATA: Final = "cloud metadata endpoint"

_METADATA: Final = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")
)
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_SPECIAL: Final = tuple(
    # The IANA registries of special-purpose addresses (RFC 6890), multicast and site-local, without those that are
    # checked separately: loopback, private, and forms that contain another address. A table, since versions of Python
    # differ.
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
        "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48",
        "3fff::/20", "5f00::/16", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All IPv6 addresses that IANA has allocated for globally reachable hosts."""
_CARRIERS: Final = tuple(
    # NAT64, and the form from before mapped addresses, contain an IPv4 address in their last 32 bits.
    ipaddress.IPv6Network(text)
    for text in ("64:ff9b::/96", "::/96")
)


def why_blocked(address: IpAddress, *, allow_loopback: bool = False, allow_private: bool = False) -> str | None:
    """Return the reason why ``address`` must not be called; None if it may be."""
    reasons = [_why(one, allow_loopback, allow_private) for one in _meant(address)]
    return next((reason for reason in reasons if reason is not None), None)


def _why(address: IpAddress, allow_loopback: bool, allow_private: bool) -> str | None:
    if address in _METADATA:
        return METADATA
    if address.is_loopback:
        return None if allow_loopback else LOOPBACK
    if any(address in network for network in _PRIVATE):
        return None if allow_private else PRIVATE
    if any(address in network for network in _SPECIAL) or (address.version == 6 and address not in _GLOBAL_UNICAST):
        return BLOCKED
    # Including special ranges that are added in the future.
    return None if address.is_global and not address.is_multicast else BLOCKED


def _meant(address: IpAddress) -> Iterator[IpAddress]:
    """Yield the addresses at which packets end: the inner addresses, if any, otherwise the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _CARRIERS[0] or (address in _CARRIERS[1] and int(address) > 1):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    elif address.sixtofour is not None:
        # Python 3.12.4 and later call all of 2002::/16 private, whatever is inside.
        yield address.sixtofour
    else:
        yield address
        if address.teredo is not None:
            yield from address.teredo
