"""Settings of approvals."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ApprovalSetting(BaseModel):
    """The usual rules for the questions of graphs, in the form of langgraph.json. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graphs: tuple[str, ...] = ()
    deadline: float | None = Field(default=None, gt=0)
    remind_after: float | None = Field(default=None, gt=0)
    escalate_after: float | None = Field(default=None, gt=0)
    escalate_to: str | None = Field(default=None, min_length=1, max_length=2_048)
    default: Any = None


class ApprovalSettings(BaseModel):
    """Settings of the section "Approvals"."""

    # --- approvals -------------------------------------------------------------------------------------------------
    approvals: tuple[ApprovalSetting, ...] = Field(
        default=(),
        description="Usual deadlines, reminders, escalations and default answers of questions, by graph (a JSON list; "
        "the first entry that names the graph, or names none, counts): docs/approvals.md.",
    )
    webhook_approvals: bool = Field(
        default=False, description="Call the webhook of a run also for its approvals (docs/approvals.md)."
    )
