"""Embedding of items for semantic search."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from langgraph.store.base import get_text_at_path

from runstead.resources.items import EmbeddingFailed
from runstead.runtime.json_types import JsonMapping

from .ranking import packed

_log = logging.getLogger(__name__)

WHOLE: Final = ("$",)
"""The path of a whole value."""


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """``embed``, named ``name`` in the configuration, makes vectors of ``dims`` numbers.

    ``fields`` are the paths that are embedded if an item specifies none.
    """

    name: str
    dims: int
    embed: Embeddings
    fields: Sequence[str] = WHOLE

    @property
    def embedder(self) -> str:
        """Return the id of the embedder: vectors of different embedders are not comparable."""
        return f"{self.name}/{self.dims}"

    async def of_texts(self, texts: Sequence[str]) -> dict[str, bytes]:
        """Return the vector of each text. Raises EmbeddingFailed."""
        wanted = list(dict.fromkeys(texts))
        if not wanted:
            return {}
        try:
            made = await self.embed.aembed_documents(wanted)
        except Exception as error:
            raise self._failed(error) from error
        if not isinstance(made, list | tuple) or len(made) != len(wanted):
            raise EmbeddingFailed(f"{self.name} (store.index.embed) must give a list with one vector for each text")
        return {text: self._packed(vector) for text, vector in zip(wanted, made, strict=True)}

    async def of_query(self, query: str) -> bytes:
        """Return the vector of a search query. Raises EmbeddingFailed."""
        try:
            made = await self.embed.aembed_query(query)
        except Exception as error:
            raise self._failed(error) from error
        return self._packed(made)

    def _packed(self, vector: Any) -> bytes:
        try:
            numbers = [float(number) for number in vector]
        except (TypeError, ValueError) as error:
            raise EmbeddingFailed(f"{self.name} (store.index.embed) gave something that is no vector") from error
        if len(numbers) != self.dims:
            raise EmbeddingFailed(
                f"{self.name} (store.index.embed) gave a vector of {len(numbers)} numbers, "
                f"and store.index.dims is {self.dims}; make them equal"
            )
        if not all(map(math.isfinite, numbers)):
            raise EmbeddingFailed(f"{self.name} (store.index.embed) gave a vector with numbers that are not finite")
        return packed(numbers)

    def _failed(self, error: Exception) -> EmbeddingFailed:
        _log.error("%s (store.index.embed) failed", self.name, exc_info=error)
        return EmbeddingFailed(
            f"{self.name} (store.index.embed) failed with {type(error).__name__}; the server's log says more"
        )


def texts_at(value: JsonMapping, paths: Sequence[str]) -> list[str]:
    """Return the texts of ``value`` at ``paths``; paths that do not exist yield none."""
    return [text for path in paths for text in get_text_at_path(dict(value), path) if text]


def words_at(value: JsonMapping, paths: Sequence[str]) -> str:
    """Return the texts at ``paths`` as one text. For a whole value it contains the values without the field names."""
    return "\n".join(" ".join(_leaves(value)) if path == "$" else " ".join(texts_at(value, [path])) for path in paths)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for below in value.values():
            yield from _leaves(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _leaves(below)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
