"""The tree of graphs in a thread's latest run, from what the lifecycle channel told of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .events import Namespace, ProtocolEvent


def tree_of(events: Iterable[ProtocolEvent]) -> dict[str, Any] | None:
    """The root of the tree; None when no run has begun."""
    nodes: dict[Namespace, dict[str, Any]] = {}
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


def _nearest(namespace: Namespace, nodes: dict[Namespace, dict[str, Any]]) -> dict[str, Any] | None:
    """The node above, or the next one above that: a graph may run inside of a node that is none."""
    above = (nodes.get(namespace[:length]) for length in range(len(namespace) - 1, -1, -1))
    return next((node for node in above if node is not None), None)
