"""``checkpointer.serde`` of langgraph.json: the classes that checkpoints may be restored to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from runstead.bootstrap.options import checkpoint_serde

from .conftest import Configured


@dataclass
class Mine:
    """A value of a user class in a state."""

    x: int


@pytest.mark.parametrize(
    ("allowed", "comes_back"),
    [(None, False), ([[__name__, "Mine"]], True), ([["elsewhere", "Mine"]], False)],
    ids=str,
)
def test_only_allowed_types_are_restored(configured: Configured, allowed: Any, comes_back: bool) -> None:
    application = configured(checkpointer={"serde": {"allowed_msgpack_modules": allowed}})
    serde = checkpoint_serde(application.configuration)
    assert serde is not None
    back = serde.loads_typed(serde.dumps_typed(Mine(1)))
    assert (back == Mine(1)) == comes_back


def test_default_serde_behaves_like_langgraph(configured: Configured) -> None:
    assert checkpoint_serde(configured().configuration) is None
