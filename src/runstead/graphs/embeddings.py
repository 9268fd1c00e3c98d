"""Embedder that ``store.index.embed`` names: the user's own, one of LangChain's providers, or the built-in one.

The user's code runs on the loop of user code, like graphs: an embedder that blocks must not block the server.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.user_loop import UserLoop

from .configuration import GraphConfiguration
from .modules import GraphLoadError, describe, extend_search_path, load_variable
from .sources import SourceError, parse_source

T = TypeVar("T")

OURS: Final = "runstead:hashed"
_KEY: Final = "store.index.embed"


class EmbedderLoadError(Exception):
    """The embedder cannot be loaded; the text names it, and the fix."""

    def __init__(self, embed: str, problem: str) -> None:
        super().__init__(f"{_KEY}: {embed!r} {problem}")


def load_embeddings(configuration: GraphConfiguration) -> Embeddings | None:
    """Load the configured embedder; None if there is no index. Runs the user's module, so it blocks.

    Raises EmbedderLoadError.
    """
    if (index := configuration.store.index) is None:
        return None
    if index.embed == OURS:
        return HashedEmbeddings(index.dims)
    if _names_a_variable(index.embed):
        return _own(configuration, index.embed)
    try:
        return ensure_embeddings(index.embed)
    except Exception as error:
        problem = f'cannot be used: {describe(error)}\n  write "provider:model", "./file.py:function" or "{OURS}"'
        raise EmbedderLoadError(index.embed, problem) from error


def _names_a_variable(embed: str) -> bool:
    """Return whether the name is a file or a dotted module; LangChain's providers contain neither dots nor slashes."""
    place = embed.rpartition(":")[0]
    return place.endswith(".py") or "/" in place or "\\" in place or bool(re.fullmatch(r"\w+(\.\w+)+", place))


def _own(configuration: GraphConfiguration, embed: str) -> Embeddings:
    extend_search_path(configuration.search_paths)
    try:
        source = replace(parse_source("embed", embed, configuration.directory), graph_id=_KEY)
        found = load_variable(source)
    except SourceError as error:
        raise EmbedderLoadError(embed, f"cannot be used: {error.problem}") from error
    except GraphLoadError as error:
        raise EmbedderLoadError(embed, f"cannot be loaded: {error.problem}") from error
    if isinstance(found, Embeddings) or (callable(found) and not isinstance(found, type)):
        return ensure_embeddings(found)
    raise EmbedderLoadError(
        embed, f"is a {type(found).__name__}; it must be a function of texts, or an Embeddings object"
    )


class OffLoopEmbeddings(Embeddings):
    """Wrapper that calls ``inner`` on the loop of user code, never on the server's. Raises TimeoutError if it does not
    return in time."""

    def __init__(self, inner: Embeddings, user_loop: UserLoop, *, within: float = 60.0) -> None:
        """Create the wrapper. ``within``: maximum seconds of a call."""
        self._inner, self._user_loop, self._within = inner, user_loop, within

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await self._apart(lambda: self._inner.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        return await self._apart(lambda: self._inner.aembed_query(text))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._inner.embed_query(text)

    async def _apart(self, work: Callable[[], Coroutine[object, object, T]]) -> T:
        return await self._user_loop.run(work, self._within, named=UserWork("embedding function"))


_PART = 3
"""Letters per part of a word, such as the part that "walk", "walks" and "walking" have in common."""


class HashedEmbeddings(Embeddings):
    """Vectors of ``dims`` numbers and length one. Deterministic."""

    def __init__(self, dims: int) -> None:
        self._dims = dims

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * self._dims
        for feature, weight in _features(text):
            digest = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
            # Each feature has its own sign, so that features at the same position do not always add up.
            vector[(digest >> 1) % self._dims] += weight if digest & 1 else -weight
        length = math.hypot(*vector)
        return [number / length for number in vector] if length else vector


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in re.findall(r"\w+", text.casefold()):
        yield word, 1.0
        framed = f"<{word}>"
        parts = [framed[start : start + _PART] for start in range(len(framed) - _PART + 1)]
        for part in parts:
            yield part, 1.0 / math.sqrt(len(parts))
