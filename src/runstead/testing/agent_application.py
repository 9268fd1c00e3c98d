"""Application of a test: graphs of the test or of a langgraph.json, over storage of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from langchain_core.callbacks import BaseCallbackHandler

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import GraphConfiguration, configuration_of_graphs, read_configuration
from runstead.runtime.clock import Clock
from runstead.settings import Settings, load_settings

Graphs: TypeAlias = object
"""A graph, a mapping of graphs by their ids, or the path of a langgraph.json."""

_DEFAULT_ID: Final = "agent"


def configuration_for_test(graphs: Graphs, callbacks: Sequence[BaseCallbackHandler] = ()) -> GraphConfiguration:
    """Return the configuration of the graphs. ``callbacks`` are added to those that are compiled or can be."""
    if isinstance(graphs, str | Path):
        return read_configuration(Path(graphs).resolve())
    named = graphs if isinstance(graphs, Mapping) else {_DEFAULT_ID: graphs}
    return configuration_of_graphs({name: _with(graph, callbacks) for name, graph in named.items()}, Path.cwd())


def _with(graph: Any, callbacks: Sequence[BaseCallbackHandler]) -> object:
    if callbacks and hasattr(graph, "compile"):
        graph = graph.compile()
    return graph.with_config(callbacks=list(callbacks)) if callbacks and hasattr(graph, "with_config") else graph


def settings_for_test(folder: Path, **settings: object) -> Settings:
    """Return the settings of a single server with its data in ``folder``, whatever the developer's own are."""
    defaults = {"port": 0, "show_errors": True, "shutdown_grace_seconds": 0}
    found = load_settings({**defaults, **settings, "data_dir": folder})
    return found.model_copy(update={"database_url": None, "redis_url": None})


def application_for_test(configuration: GraphConfiguration, settings: Settings, clock: Clock | None) -> Application:
    """Return an application that has not started yet."""
    return Application(settings, configuration, clock=clock)
