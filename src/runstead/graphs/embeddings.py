"""The embedder that ``store.index.embed`` names: one of the user's own, one of langchain's providers, or ours.

The user's code runs on the loop of all user code, like graphs do: an embedder that blocks must not stop the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, TypeVar

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.user_loop import UserLoop

from .configuration import GraphConfiguration
from .hashed_embeddings import HashedEmbeddings
from .modules import GraphLoadError, describe, extend_search_path, load_variable
from .sources import SourceError, parse_source

T = TypeVar("T")

OURS: Final = "runstead:hashed"
_KEY: Final = "store.index.embed"


class EmbedderLoadError(Exception):
    """An embedder that cannot be had; the text names what was asked for, and the way out."""

    def __init__(self, embed: str, problem: str) -> None:
        super().__init__(f"{_KEY}: {embed!r} {problem}")


def load_embeddings(configuration: GraphConfiguration) -> Embeddings | None:
    """What the configuration names; None where it has no index. Runs the user's module, so it blocks.

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
    """A file or a dotted module; providers of langchain have neither dots nor slashes."""
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
    """``inner``, called on the loop of user code and never on the server's. Raises TimeoutError when it does not come
    back.
    """

    def __init__(self, inner: Embeddings, user_loop: UserLoop, *, within: float = 60.0) -> None:
        """``within``: seconds that an answer may take."""
        self._inner, self._user_loop, self._within = inner, user_loop, within

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await self._apart(lambda: self._inner.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        return await self._apart(lambda: self._inner.aembed_query(text))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._inner.embed_query(text)

    async def _apart(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._user_loop.run(work, self._within, named=UserWork("embedding function"))
