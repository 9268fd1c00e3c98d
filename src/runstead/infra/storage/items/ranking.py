"""Scores of texts and vectors for a query. Pure, and without SQLite extensions, which stock Pythons cannot load.

Vectors are stored with length one, so that their similarity is their dot product. numpy multiplies them if it is
installed.
"""

from __future__ import annotations

import math
import operator
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

K = TypeVar("K")
Scores: TypeAlias = dict[K, float]

_ROWS: Final = 1024
"""Number of vectors multiplied at once: their matrix stays small, however many there are."""
_WORD: Final = re.compile(r"\w+")
_SATURATION: Final = 1.2
_LENGTH_WEIGHT: Final = 0.75
"""The two constants of BM25, at their usual values."""


def packed(vector: Sequence[float]) -> bytes:
    """Return ``vector`` scaled to length one, as float32. A vector of zeros stays so, and matches nothing."""
    length = math.hypot(*vector) or 1.0
    return array("f", (number / length for number in vector)).tobytes()


def closeness(query: bytes, vectors: Iterable[tuple[K, bytes]]) -> Scores[K]:
    """Return, for each key, the best cosine of its vectors with ``query``; all as `packed` returns them."""
    found: Scores[K] = {}
    rows = iter(vectors)
    multiply = _with_numpy if find_spec("numpy") else _by_hand
    while chunk := list(islice(rows, _ROWS)):
        for (key, _), score in zip(chunk, multiply(query, [vector for _, vector in chunk]), strict=True):
            if score > found.get(key, -math.inf):
                found[key] = score
    return found


def _with_numpy(query: bytes, vectors: Sequence[bytes]) -> Iterable[float]:
    # Not a dependency of ours, so its types are unknown here.
    np: Any = import_module("numpy")
    matrix = np.frombuffer(b"".join(vectors), dtype=np.float32).reshape(len(vectors), -1)
    scores: list[float] = (matrix @ np.frombuffer(query, dtype=np.float32)).tolist()
    return scores


def _by_hand(query: bytes, vectors: Sequence[bytes]) -> Iterator[float]:
    wanted = array("f", query)
    for vector in vectors:
        yield sum(map(operator.mul, wanted, array("f", vector)))


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.casefold())


def relevance(query: str, texts: Iterable[tuple[K, str]]) -> Scores[K]:
    """Return the BM25 score (more is better) of each key whose text has a word of ``query``; omit all others."""
    wanted = set(words_of(query))
    counts: dict[K, Counter[str]] = {}
    lengths: dict[K, int] = {}
    having: Counter[str] = Counter()
    for key, text in texts:
        words = words_of(text)
        lengths[key] = len(words)
        if hits := Counter(word for word in words if word in wanted):
            counts[key] = hits
            having.update(hits.keys())
    average = sum(lengths.values()) / len(lengths) if lengths else 1.0
    rarity = {word: math.log(1 + (len(lengths) - number + 0.5) / (number + 0.5)) for word, number in having.items()}
    return {key: _bm25(hits, rarity, lengths[key] / average) for key, hits in counts.items()}


def _bm25(hits: Mapping[str, int], rarity: Mapping[str, float], length: float) -> float:
    damping = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * length)
    return sum(rarity[word] * number * (_SATURATION + 1) / (number + damping) for word, number in hits.items())


def best_of(scores: Mapping[K, float], order: Any, offset: int, limit: int) -> list[tuple[K, float]]:
    """Return a page of the ranking: the best first, and among equal scores by ``order``."""
    ranked = sorted(scores.items(), key=lambda entry: (-entry[1], order(entry[0])))
    return ranked[offset : offset + limit]
