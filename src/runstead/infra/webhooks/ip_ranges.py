"""IP addresses that webhooks must not call: this machine, private networks, and metadata endpoints of clouds.

Pure. An address that contains another one (mapped, translated, tunnelled) is also checked by the inner one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final, TypeAlias

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
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
