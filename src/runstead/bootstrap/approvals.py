"""The rules of approvals that the settings and langgraph.json set."""

from __future__ import annotations

from runstead.graphs.configuration import GraphConfiguration
from runstead.runtime.runs.approvals import ApprovalRules, GraphRules
from runstead.settings import Settings
from runstead.settings.approvals import ApprovalSetting


def approval_rules(settings: Settings, configuration: GraphConfiguration) -> GraphRules:
    """Return the usual rules by graph; the first entry for a graph counts, those of the settings before those of
    langgraph.json."""
    own = [ApprovalSetting.model_validate(part.model_dump(exclude_unset=True)) for part in configuration.approvals]
    by_graph: dict[str, ApprovalRules] = {}
    usual: ApprovalRules | None = None
    for part in (*settings.approvals, *own):
        given = part.model_dump(exclude_unset=True, exclude={"graphs"})
        rules = ApprovalRules.parse(
            {name: value for name, value in given.items() if value is not None or name == "default"}
        )
        if not part.graphs:
            usual = usual or rules
        for graph_id in part.graphs if usual is None else ():
            by_graph.setdefault(graph_id, rules)
    return GraphRules(by_graph, usual or ApprovalRules(), settings.webhook_approvals)
