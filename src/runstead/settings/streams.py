"""Settings of streams: heartbeats, and the events that are kept."""

from pydantic import BaseModel, Field


class StreamSettings(BaseModel):
    """Settings of the section "Streams"."""

    heartbeat_seconds: float = Field(
        default=5, gt=0, description="Interval of heartbeats on a silent stream (seconds)."
    )
    stream_window_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Events kept per run for readers that reconnect (bytes). Unset: 256 MiB, and 64 MiB in a cluster, "
        "where they take memory of Redis.",
    )
    stream_window_events: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of events kept per run, in addition (count). Unset: only bytes count.",
    )
    stream_memory_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1,
        description="Memory for the events of all runs together (bytes) before the oldest are moved to files in the "
        "data directory. Without effect in a cluster.",
    )
    stream_disk_bytes: int = Field(
        default=2 * 1024 * 1024 * 1024,
        ge=0,
        description="Maximum size of those files (bytes); beyond that, streams of ended runs are deleted early. 0: no "
        "files, and the oldest events are dropped instead. Without effect in a cluster.",
    )
    stream_retention_seconds: float = Field(
        default=300, ge=0, description="Time that the stream of an ended run can still be read (seconds)."
    )
    stream_awaiting_input_seconds: float = Field(
        default=7200, ge=0, description="The same for a run that stopped at an interrupt (seconds)."
    )
    stream_archive: bool = Field(
        default=True,
        description="Keep the streams of ended runs in the database, compressed, so that they can be read after that "
        "time, after a restart and after a loss of Redis.",
    )
    stream_archive_days: float = Field(
        default=30, gt=0, le=36_500, description="Time that archived streams are kept (days)."
    )
    stream_archive_bytes: int = Field(
        default=2 * 1024 * 1024 * 1024,
        ge=0,
        description="Maximum size of all archived streams (bytes); beyond that, the oldest are deleted.",
    )
