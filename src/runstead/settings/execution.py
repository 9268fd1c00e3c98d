"""Settings of the execution of runs: how many, how long, and on which loop."""

from typing import Literal

from pydantic import BaseModel, Field, field_validator


class ExecutionSettings(BaseModel):
    """Settings of the section "How runs are executed"."""

    max_concurrent_runs: int = Field(
        default=64,
        ge=0,
        description="Maximum of runs that this process executes at once (count); more wait. 0: none, for a "
        "server whose runs are executed by workers.",
    )
    reserved_slots: int | None = Field(
        default=None,
        ge=0,
        description="Part of `max_concurrent_runs` that is reserved for users and fairness groups without an "
        "executing run (count); 0: none. Unset: an eighth. Without authentication and without `priority` in "
        "langgraph.json, none.",
    )
    lease_term_seconds: float = Field(
        default=10,
        gt=0,
        description="Term of a lease without renewal (seconds). After a crash, another worker continues within one "
        "and a half terms.",
    )
    max_attempts: int = Field(
        default=3, ge=1, description="Attempts whose worker was lost (count) before a run is a dead letter."
    )
    run_timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Default time limit of a run (seconds); a run may set its own. Unset: no limit.",
    )
    stop_grace_seconds: float = Field(
        default=30,
        ge=0,
        description="Time that a stop waits for agent code that does not react (seconds) before it abandons the code.",
    )
    shutdown_grace_seconds: float = Field(
        default=10,
        ge=0,
        description="Time that runs may continue after SIGTERM (seconds) before they are handed back to be resumed "
        "later. Code that does not react to that has the same time once more, at least a second.",
    )
    shutdown_notice_seconds: float | None = Field(
        default=None,
        ge=0,
        description="Time that a stopping server answers as before but is not /ready (seconds), so that load "
        "balancers remove it first. Unset: 5 in a cluster, else 0.",
    )
    agent_isolation: Literal["shared", "run"] = Field(
        default="shared",
        description="Event loop for the code of graphs. `shared`: one loop with all other user code, where clients, "
        "locks and pools can be shared, and a node that blocks delays other runs. `run`: a loop for each "
        "run, for code that blocks and shares nothing. A graph in langgraph.json may have its own value.",
    )

    blocked_loop_limit_seconds: float = Field(
        default=60,
        gt=0,
        description="Time that user code may block the shared event loop (seconds) before the loop is abandoned: its "
        "runs are handed back, and the process replaces itself. Must be longer than any intended "
        "blocking.",
    )

    @field_validator("agent_isolation", mode="before")
    @classmethod
    def _rename_isolation(cls, value: object) -> object:
        """Accept the names of the first versions."""
        return {"thread": "run", "server": "shared"}.get(value, value) if isinstance(value, str) else value

    @property
    def hand_back_grace_seconds(self) -> float:
        """Seconds that a stopping process waits for code that does not react, before its run is handed back."""
        return min(self.stop_grace_seconds, max(self.shutdown_grace_seconds, 1.0))
