"""The configured embedder: loaded, or refused with a remedy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from langchain_core.embeddings import Embeddings

from runstead.bootstrap.extensions import load_embedder
from runstead.bootstrap.unsupported import UnsupportedConfiguration
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.embeddings import HashedEmbeddings, OffLoopEmbeddings, load_embeddings
from runstead.graphs.sections import StoreIndex, StorePart
from runstead.runtime.user_code.user_loop import UserLoop

CODE = """
from langchain_core.embeddings import DeterministicFakeEmbedding

def embed(texts):
    return [[float(len(text))] for text in texts]

async def embed_later(texts):
    return embed(texts)

ready = DeterministicFakeEmbedding(size=1)
number = 1

class Mine:
    pass
"""


def configured(tmp_path: Path, embed: str) -> GraphConfiguration:
    (tmp_path / "embed.py").write_text(CODE)
    return GraphConfiguration(tmp_path, (), store=StorePart(index=StoreIndex(dims=1, embed=embed)))


@pytest.mark.parametrize("variable", ["embed", "embed_later"])
async def test_function_is_accepted_as_embedder(tmp_path: Path, variable: str) -> None:
    found = load_embeddings(configured(tmp_path, f"./embed.py:{variable}"))
    assert found is not None
    assert await found.aembed_documents(["a", "abc"]) == [[1.0], [3.0]]
    assert await found.aembed_query("ab") == [2.0]


def test_langchain_embeddings_object_is_accepted(tmp_path: Path) -> None:
    assert isinstance(load_embeddings(configured(tmp_path, "./embed.py:ready")), Embeddings)


def test_built_in_embedder_needs_no_dependency(tmp_path: Path) -> None:
    assert isinstance(load_embeddings(configured(tmp_path, "runstead:hashed")), HashedEmbeddings)


def test_load_embeddings_without_index_returns_none(tmp_path: Path) -> None:
    assert load_embeddings(GraphConfiguration(tmp_path, ())) is None


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        ("./absent.py:embed", "there is no file"),
        ("./embed.py:absent", "it has no variable 'absent'"),
        ("./embed.py:number", "is a int; it must be a function"),
        ("./embed.py:Mine", "is a type; it must be a function"),
        ("./embed.py", "cannot be used"),
        ("no.such.module:embed", "No module named"),
        ("missing:model", "cannot be used"),
        ("openai:text-embedding-3-small", 'write "provider:model"'),
        ("nothing", "cannot be used"),
    ],
)
def test_unloadable_embedder_prevents_startup(tmp_path: Path, embed: str, message: str) -> None:
    with pytest.raises(UnsupportedConfiguration, match=message) as refused:
        load_embedder(configured(tmp_path, embed))
    assert f"{tmp_path}: store.index.embed: {embed!r}" in str(refused.value)


async def _thread() -> int:
    return threading.get_ident()


class _Blocking(Embeddings):
    """Records the thread in which it was called."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        raise NotImplementedError

    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(threading.get_ident())]]

    async def aembed_query(self, text: str) -> list[float]:
        await asyncio.Event().wait()
        return []


async def test_embedder_does_not_block_the_server_and_times_out() -> None:
    async with UserLoop.running() as user_loop:
        apart = OffLoopEmbeddings(_Blocking(), user_loop, within=0.05)
        ((thread,),) = await apart.aembed_documents(["a"])
        assert thread == await user_loop.run(_thread)
        assert thread != threading.get_ident()
        with pytest.raises(TimeoutError, match=r"no answer within 0\.05 seconds"):
            await apart.aembed_query("a")
