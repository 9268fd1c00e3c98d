"""Tree of graphs in a thread's latest run, built from events of the lifecycle channel."""

from __future__ import annotations

from collections.abc import Iterable

from runstead.runtime.json_types import JsonObject

from .events import Namespace, ProtocolEvent


def tree_of(events: Iterable[ProtocolEvent]) -> JsonObject | None:
    """Return the root of the tree; None if no run has begun."""
    nodes: dict[Namespace, JsonObject] = {}
    for event in events:
        if event.method != "lifecycle":
            continue
        if not event.namespace and event.data["event"] == "running":
            nodes = {}
        node = nodes.get(event.namespace)
        if node is None:
            node = nodes[event.namespace] = {"namespace": list(event.namespace)}
            if event.namespace and (above := _nearest(event.namespace, nodes)) is not None:
                above.setdefault("children", []).append(node)
        node |= {"status": event.data["event"], "graph_name": event.data["graph_name"]}
    return nodes.get(())


def _nearest(namespace: Namespace, nodes: dict[Namespace, JsonObject]) -> JsonObject | None:
    """Return the closest node above a namespace: a graph may run inside a node that is not a graph."""
    above = (nodes.get(namespace[:length]) for length in range(len(namespace) - 1, -1, -1))
    return next((node for node in above if node is not None), None)
