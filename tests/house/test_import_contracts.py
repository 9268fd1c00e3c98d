"""Import contracts: each of ten deliberately wrong imports breaks the contracts in .importlinter."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Final

import pytest
from grimp import ImportGraph, build_graph
from importlinter import configuration
from importlinter.application.use_cases import read_user_options
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import Contract

ROOT: Final = Path(__file__).parents[2]
KINDS: Final[dict[str, type[Contract]]] = {
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}
WRONG: Final = (
    ("runstead.runtime.clock", "runstead.wire.errors", "the kernel imports the wire"),
    ("runstead.resources.threads", "runstead.wire.threads", "resources import the wire"),
    ("runstead.gateway.sse", "runstead.infra.storage.threads", "a route imports an adapter"),
    ("runstead.auth.none", "runstead.gateway.api", "an edge folder imports another"),
    ("runstead.channels.hub", "runstead.channels.telegram", "what channels share imports an adapter"),
    ("runstead.channels.hub", "telegram", "what channels share imports an SDK"),
    ("runstead.cli.doctor", "runstead.infra.engines.postgres", "a command imports an adapter"),
    ("runstead.infra.engines.sqlite", "runstead.infra.storage.threads", "an engine imports a store"),
    ("runstead.infra.storage.threads", "runstead.infra.checkpoints.saver", "a store imports checkpoints"),
    ("runstead.resources.states", "runstead.runtime.runs.internal.execution.planner", "machinery is used from outside"),
    ("runstead.runtime.runs.types", "runstead.runtime.runs.facade", "a type imports the facade"),
    (
        "runstead.runtime.runs.internal.streaming.wait",
        "runstead.runtime.runs.internal.recovery.expired_leases",
        "streaming imports recovery",
    ),
    (
        "runstead.infra.stream_bridge.memory.bridge",
        "runstead.infra.stream_bridge.redis.bridge",
        "one stream bridge imports the other",
    ),
    ("runstead.runtime.clock", "httpx", "the kernel imports a network client"),
    ("runstead.runtime.runs.store.lease_store", "pydantic", "a port imports a framework"),
    ("runstead.bootstrap.embedded", "runstead.testing.clock", "product code imports a fake"),
)


@pytest.fixture(scope="module")
def contracts() -> list[Contract]:
    configuration.configure()
    options = read_user_options(str(ROOT / ".importlinter"))
    return [KINDS[each["type"]](each["name"], options.session_options, each) for each in options.contracts_options]


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return build_graph("runstead", include_external_packages=True, cache_dir=str(ROOT / ".import_linter_cache"))


def broken(contracts: list[Contract], graph: ImportGraph) -> list[str]:
    # A contract may change the graph that it checks.
    return [contract.name for contract in contracts if not contract.check(deepcopy(graph), verbose=False).kept]


def test_contracts_are_kept(contracts: list[Contract], graph: ImportGraph) -> None:
    assert broken(contracts, graph) == []


@pytest.mark.parametrize(("importer", "imported", "why"), WRONG, ids=[why for _, _, why in WRONG])
def test_wrong_import_is_caught(
    importer: str, imported: str, why: str, contracts: list[Contract], graph: ImportGraph
) -> None:
    changed = deepcopy(graph)
    assert importer in changed.modules
    if imported not in changed.modules:
        changed.add_module(imported, is_squashed=True)
    changed.add_import(importer=importer, imported=imported, line_number=1, line_contents=f"import {imported}")
    assert broken(contracts, changed), why
