"""How well texts and vectors fit a query. Pure, and without SQLite extensions, which stock Pythons cannot load.

Vectors are kept at length one, so that how close two are is their dot product. numpy multiplies them where it
is installed.
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
"""Vectors that are multiplied at once: their matrix stays small, however many there are."""
_WORD: Final = re.compile(r"\w+")
_SATURATION: Final = 1.2
_LENGTH_WEIGHT: Final = 0.75
"""BM25's two constants, at their usual values."""


def packed(vector: Sequence[float]) -> bytes:
    """``vector`` at length one, as float32. One that is all zeros stays so, and fits nothing."""
    length = math.hypot(*vector) or 1.0
    return array("f", (number / length for number in vector)).tobytes()


def closeness(query: bytes, vectors: Iterable[tuple[K, bytes]]) -> Scores[K]:
    """Of each key the cosine of its best vector with ``query``'s; both as `packed` made them."""
    found: Scores[K] = {}
    rows = iter(vectors)
    multiply = _with_numpy if find_spec("numpy") else _by_hand
    while chunk := list(islice(rows, _ROWS)):
        for (key, _), score in zip(chunk, multiply(query, [vector for _, vector in chunk]), strict=True):
            if score > found.get(key, -math.inf):
                found[key] = score
    return found


def _with_numpy(query: bytes, vectors: Sequence[bytes]) -> Iterable[float]:
    # No dependency of ours, so nothing may be known of it here.
    np: Any = import_module("numpy")
    matrix = np.frombuffer(b"".join(vectors), dtype=np.float32).reshape(len(vectors), -1)
    scores: list[float] = (matrix @ np.frombuffer(query, dtype=np.float32)).tolist()
    return scores


def _by_hand(query: bytes, vectors: Sequence[bytes]) -> Iterator[float]:
    wanted = array("f", query)
    for vector in vectors:
        yield sum(map(operator.mul, wanted, array("f", vector)))


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return _WORD.findall(text.casefold())


def relevance(query: str, texts: Iterable[tuple[K, str]]) -> Scores[K]:
    """Of each key whose text has a word of ``query``, how well it fits (BM25; more is better). Others are left out."""
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
    """A page of the ranking: the best first, and among equals those that come first in ``order``."""
    ranked = sorted(scores.items(), key=lambda entry: (-entry[1], order(entry[0])))
    return ranked[offset : offset + limit]
