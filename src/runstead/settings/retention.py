"""The setting ``retention``."""

from pydantic import BaseModel, ConfigDict, Field


class RetentionSetting(BaseModel):
    """One rule, as in runstead.toml; see docs/operations.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph: str = Field(default="*", min_length=1)
    tenant: str = Field(default="*", min_length=1)
    runs_days: float | None = Field(default=None, gt=0)
    events_days: float | None = Field(default=None, gt=0)
    checkpoints_days: float | None = Field(default=None, gt=0)
    checkpoints_per_thread: int | None = Field(default=None, ge=1)
    checkpoints_every: int | None = Field(default=None, ge=1)
