"""Addresses that may be called: the URL's host, its resolved addresses, and addresses embedded in those."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstead.infra.webhooks.url_policy import IpAddress, UrlPolicy, WebhookUrls, why_blocked
from runstead.resources.webhooks import WebhookRefused

BLOCKED = {
    "127.0.0.1": "loopback IP range",
    "127.255.255.254": "loopback IP range",
    "::1": "loopback IP range",
    "::ffff:127.0.0.1": "loopback IP range",
    "64:ff9b::7f00:1": "loopback IP range",
    "::7f00:1": "loopback IP range",
    "2002:7f00:1::": "loopback IP range",
    "10.0.0.1": "private IP range",
    "172.31.255.255": "private IP range",
    "192.168.1.1": "private IP range",
    "::ffff:10.0.0.1": "private IP range",
    "64:ff9b::a00:1": "private IP range",
    "fd12:3456::1": "private IP range",
    "169.254.169.254": "cloud metadata endpoint",
    "::ffff:169.254.169.254": "cloud metadata endpoint",
    "64:ff9b::a9fe:a9fe": "cloud metadata endpoint",
    "fd00:ec2::254": "cloud metadata endpoint",
    "168.63.129.16": "cloud metadata endpoint",
    "100.100.100.200": "cloud metadata endpoint",
    "0.0.0.0": "blocked IP range",
    "::": "blocked IP range",
    "0.1.2.3": "blocked IP range",
    "169.254.1.1": "blocked IP range",
    "fe80::1": "blocked IP range",
    "fec0::1": "blocked IP range",
    "100.64.0.1": "blocked IP range",
    "224.0.0.1": "blocked IP range",
    "239.255.255.250": "blocked IP range",
    "ff02::1": "blocked IP range",
    "255.255.255.255": "blocked IP range",
    "240.0.0.1": "blocked IP range",
    "192.0.2.1": "blocked IP range",
    "198.18.0.1": "blocked IP range",
    "2001:db8::1": "blocked IP range",
    "64:ff9b:1::808:808": "blocked IP range",
    "100::1": "blocked IP range",
    "100:0:0:1::1": "blocked IP range",
    "192.0.0.1": "blocked IP range",
    "192.0.0.9": "blocked IP range",
    "192.0.0.200": "blocked IP range",
    "192.31.196.1": "blocked IP range",
    "192.52.193.1": "blocked IP range",
    "192.88.99.1": "blocked IP range",
    "192.175.48.1": "blocked IP range",
    "198.51.100.1": "blocked IP range",
    "203.0.113.1": "blocked IP range",
    "::ffff:192.0.0.200": "blocked IP range",
    "64:ff9b::c000:c8": "blocked IP range",
    "2002:c000:c8::": "blocked IP range",
    "2002:a9fe:a9fe::1": "cloud metadata endpoint",
    "::ffff:0:808:808": "blocked IP range",
    "2001:2::1": "blocked IP range",
    "2001:20::1": "blocked IP range",
    "2001:30::1": "blocked IP range",
    "2001::1": "blocked IP range",
    "2620:4f:8000::1": "blocked IP range",
    "3fff::1": "blocked IP range",
    "5f00::1": "blocked IP range",
    "4000::1": "blocked IP range",
}


@pytest.mark.parametrize(("text", "reason"), BLOCKED.items())
def test_non_public_address_is_blocked(text: str, reason: str) -> None:
    assert why_blocked(ipaddress.ip_address(text)) == reason


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_address_is_allowed(text: str) -> None:
    assert why_blocked(ipaddress.ip_address(text)) is None


def test_operator_permission_allows_only_its_range() -> None:
    for text, reason in BLOCKED.items():
        address = ipaddress.ip_address(text)
        assert (why_blocked(address, allow_loopback=True) is None) == (reason == "loopback IP range")
        assert (why_blocked(address, allow_private=True) is None) == (reason == "private IP range")


@given(st.ip_addresses())
def test_non_public_addresses_are_never_called(address: IpAddress) -> None:
    if why_blocked(address) is None:
        inside = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
        assert inside.is_global or int(address) >> 32 == 0x64FF9B << 64 or int(address) >> 32 == 0
        assert not address.is_loopback
        assert not address.is_link_local


@given(st.ip_addresses(v=4))
def test_embedded_address_is_checked_too(address: ipaddress.IPv4Address) -> None:
    inside = int(address)
    for carrier in (0xFFFF << 32, 0x64FF9B << 96):
        assert why_blocked(ipaddress.IPv6Address(carrier | inside)) == why_blocked(address)
    assert why_blocked(ipaddress.IPv6Address(0x2002 << 112 | inside << 80)) == why_blocked(address)


class Names:
    """A fake name server. ``asked`` lists its queries."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): found for name, found in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError("no such host")
        return self.names[host]


NAMES = Names(
    example_org=["93.184.216.34"],
    hooks_example_org=["93.184.216.34"],
    inside_example_org=["10.1.2.3"],
    both_example_org=["93.184.216.34", "127.0.0.1"],
    localhost=["::1", "127.0.0.1"],
    link_example_org=["fe80::1%eth0"],
    nothing_example_org=[],
    odd_example_org=["not an address"],
)
NAMES.names["2130706433"] = ["127.0.0.1"]
NAMES.names["xn--bcher-kva.example"] = ["93.184.216.34"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1/x", "Webhook host blocked: loopback IP range"),
        ("http://localhost/x", "Webhook host blocked: loopback IP range"),
        ("http://LOCALHOST./x", "Webhook host blocked: loopback IP range"),
        ("http://2130706433/x", "Webhook host blocked: loopback IP range"),
        ("http://[::1]/x", "Webhook host blocked: loopback IP range"),
        ("http://[::ffff:127.0.0.1]/x", "Webhook host blocked: loopback IP range"),
        ("http://169.254.169.254/latest/meta-data", "Webhook host blocked: cloud metadata endpoint"),
        ("http://metadata.google.internal/", "Webhook host blocked: cloud metadata endpoint"),
        ("https://inside.example.org/", "Webhook host blocked: private IP range"),
        ("https://both.example.org/", "Webhook host blocked: loopback IP range"),
        ("https://link.example.org/", "Webhook host blocked: blocked IP range"),
        ("https://odd.example.org/", "Webhook host blocked: blocked IP range"),
        ("https://nowhere.example.org/", "Webhook host blocked: DNS resolution failed"),
        ("https://nothing.example.org/", "Webhook host blocked: DNS resolution failed"),
        ("/threads", "Webhooks to paths of the server itself are disabled; set webhooks.url.disable_loopback to false"),
        ("//example.org/hook", "Webhook must be an absolute http or https URL"),
        ("ftp://example.org/", "Webhook must be an absolute http or https URL"),
        ("file:///etc/passwd", "Webhook must be an absolute http or https URL"),
        ("http:///x", "Webhook must be an absolute http or https URL"),
        ("example.org", "Webhook must be an absolute http or https URL"),
        ("", "Webhook must be an absolute http or https URL"),
        ("http://user:secret@example.org/", "Webhook must not carry a user or password"),
        ("http://example.org:99999/", "Webhook is not a valid URL"),
        ("http://exa mple.org/", "Webhook"),
        ("http://example.org/\n", "Webhook is not a valid URL"),
        ("https://example.org/" + "x" * 5000, "Webhook URL too long"),
    ],
)
async def test_invalid_url_is_refused_with_a_message(url: str, message: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        await WebhookUrls(UrlPolicy(), NAMES).check(url)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "url",
    ["https://example.org/hook?x=1", "http://example.org:8080/", "https://bücher.example/", "http://93.184.216.34/"],
)
async def test_valid_url_is_accepted(url: str) -> None:
    await WebhookUrls(UrlPolicy(), NAMES).check(url)


@pytest.mark.parametrize(
    ("policy", "url", "message"),
    [
        (UrlPolicy(require_https=True), "http://example.org/", "Webhook must use https"),
        (UrlPolicy(require_https=True), "https://example.org/", None),
        (UrlPolicy(allowed_ports=(443,)), "https://example.org/", None),
        (UrlPolicy(allowed_ports=(443,)), "http://example.org/", "Webhook port 80 not allowed"),
        (UrlPolicy(allowed_ports=(443,)), "https://example.org:444/", "Webhook port 444 not allowed"),
        (UrlPolicy(allowed_domains=("example.org",)), "https://EXAMPLE.org/", None),
        (UrlPolicy(allowed_domains=("example.org",)), "https://hooks.example.org/", "Webhook domain not allowed"),
        (UrlPolicy(allowed_domains=("*.example.org",)), "https://hooks.example.org/", None),
        (UrlPolicy(allowed_domains=("*.example.org",)), "https://example.org/", "Webhook domain not allowed"),
        (UrlPolicy(allowed_domains=("*.example.org",)), "https://evilexample.org/", "Webhook domain not allowed"),
        (UrlPolicy(max_url_length=20), "https://example.org/12", "Webhook URL too long"),
        (UrlPolicy(allow_loopback=True), "http://localhost/", None),
        (UrlPolicy(allow_loopback=True), "http://10.0.0.1/", "Webhook host blocked: private IP range"),
        (UrlPolicy(allow_private=True), "https://inside.example.org/", None),
        (UrlPolicy(disabled=True), "https://example.org/", "Webhooks are disabled on this server"),
    ],
)
async def test_operator_s_policy(policy: UrlPolicy, url: str, message: str | None) -> None:
    addresses = WebhookUrls(policy, NAMES)
    if message is None:
        await addresses.check(url)
        return
    with pytest.raises(WebhookRefused, match=message):
        await addresses.check(url)


async def test_refused_url_is_not_resolved() -> None:
    names = Names()
    with pytest.raises(WebhookRefused):
        await WebhookUrls(UrlPolicy(require_https=True), names).check("http://secret.example.org/")
    assert names.asked == []
