"""The conformance suite of the Cache port. Subclass it, and provide ``cache`` and a way to let time pass."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runstead.resources.cache import MAX_TTL, MAX_VALUE_BYTES, Cache

SECOND = timedelta(seconds=1)


class CacheConformance:
    """The suite of Cache. Subclass it and provide an empty ``cache`` and `let_pass`."""

    async def let_pass(self, seconds: float) -> None:
        """Let time pass for entries."""
        raise NotImplementedError

    async def test_get_returns_none_for_a_key_that_was_never_set(self, cache: Cache) -> None:
        assert await cache.get("key") is None

    @pytest.mark.parametrize("value", [b"", b"null", b"\x00\xff\r\n", b"x" * MAX_VALUE_BYTES], ids=len)
    async def test_get_returns_what_was_set(self, cache: Cache, value: bytes) -> None:
        await cache.set("key", value, MAX_TTL)
        assert await cache.get("key") == value
        assert await cache.get("key") == value

    async def test_get_distinguishes_keys_in_every_character(self, cache: Cache) -> None:
        keys = [
            "",
            " ",
            "a",
            "A",
            "a ",
            "a\n",
            "{a}",
            "a:b",
            "a*",
            "é",
            "e\u0301",
            "日本",
            "😀",
            "\ud800",
            "\x00",
            "k" * 10_000,
        ]
        for number, key in enumerate(keys):
            await cache.set(key, str(number).encode(), MAX_TTL)
        assert [await cache.get(key) for key in keys] == [str(number).encode() for number in range(len(keys))]

    async def test_set_replaces_value_and_ttl(self, cache: Cache) -> None:
        await cache.set("key", b"1", 10 * SECOND)
        await cache.set("key", b"2", 100 * SECOND)
        await self.let_pass(50)
        assert await cache.get("key") == b"2"
        await cache.set("key", b"3", 10 * SECOND)
        await self.let_pass(11)
        assert await cache.get("key") is None

    async def test_get_returns_none_after_the_ttl(self, cache: Cache) -> None:
        await cache.set("short", b"1", 10 * SECOND)
        await cache.set("long", b"2", 1000 * SECOND)
        await self.let_pass(9)
        assert (await cache.get("short"), await cache.get("long")) == (b"1", b"2")
        await self.let_pass(2)
        assert (await cache.get("short"), await cache.get("long")) == (None, b"2")

    async def test_get_does_not_extend_the_ttl(self, cache: Cache) -> None:
        await cache.set("key", b"1", 10 * SECOND)
        await self.let_pass(6)
        assert await cache.get("key") == b"1"
        await self.let_pass(6)
        assert await cache.get("key") is None

    async def test_set_accepts_a_ttl_below_a_millisecond(self, cache: Cache) -> None:
        await cache.set("key", b"1", timedelta(microseconds=1))
        await self.let_pass(1)
        assert await cache.get("key") is None
