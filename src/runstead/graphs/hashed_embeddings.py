"""Embedder without a model: words and parts of words, hashed to positions of a vector.

Texts that share words, or forms of a word, are close; synonyms are not. For demos and tests: no API key, no download,
the same vectors on every machine.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator

from langchain_core.embeddings import Embeddings

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
