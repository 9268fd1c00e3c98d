"""Settings of a cluster: the shared servers, and queues."""

from typing import Any, Final

from pydantic import BaseModel, Field, SecretStr, field_validator

_LONGEST_QUEUE: Final = 128
_MOST_URGENT: Final = 2**31 - 1
_SCHEMES: Final = {"database_url": ("postgresql://", "postgres://"), "redis_url": ("redis://", "rediss://")}


class ClusterSettings(BaseModel):
    """Settings of the section "Many servers and workers"."""

    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL shared by all servers and workers (postgresql://user:password@host/database). Unset: "
        "files in data_dir, for a single server.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis or Valkey for live streams between servers and workers (redis:// or rediss://). Required "
        "with database_url.",
    )
    database_schema: str = Field(
        default="runstead",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="PostgreSQL schema of Runstead's tables, and prefix of its keys in Redis.",
    )
    database_pool_size: int = Field(
        default=12,
        ge=2,
        description="Maximum of connections to PostgreSQL of one process (count), besides three for its queue.",
    )
    database_statement_timeout_seconds: float = Field(
        default=30, gt=0, description="Time limit of one statement in PostgreSQL (seconds)."
    )
    database_patience_seconds: float = Field(
        default=10,
        gt=0,
        description="Time that work waits for a restarting PostgreSQL or a free connection (seconds) before it is "
        "refused.",
    )
    database_migrate_on_start: bool = Field(
        default=True,
        description="Migrate the database's schema when a server or worker starts. If false, run `runstead migrate` "
        "first.",
    )
    database_row_security: bool = Field(
        default=False,
        description="Row-level security: PostgreSQL itself shows each transaction only the rows of the tenant that it "
        "acts for. The role of database_url must own the schema, and be no superuser.",
    )
    queues: tuple[str, ...] | None = Field(
        default=None,
        description="Queues that this process serves (a JSON list). Unset: all.",
    )
    graph_queues: dict[str, str] = Field(
        default_factory=dict,
        description="Queue of each graph's runs (a JSON object by graph id). Unset: the queue `default`.",
    )
    graph_priorities: dict[str, int] = Field(
        default_factory=dict,
        description="Priority of each graph's runs (a JSON object by graph id): higher numbers first. Unset: 0.",
    )

    @field_validator("queues", "graph_queues")
    @classmethod
    def _check_queues(cls, value: Any) -> object:
        if value == ():
            raise ValueError("it is empty; leave it out to execute runs of all queues")
        for name in value.values() if isinstance(value, dict) else value or ():
            if not name.strip() or len(name) > _LONGEST_QUEUE or not name.isprintable():
                raise ValueError(f"a queue has a name of 1 to {_LONGEST_QUEUE} printable characters")
        return value

    @field_validator("graph_priorities")
    @classmethod
    def _check_priorities(cls, value: dict[str, int]) -> dict[str, int]:
        if any(abs(priority) > _MOST_URGENT for priority in value.values()):
            raise ValueError(f"a priority is a number from -{_MOST_URGENT} to {_MOST_URGENT}")
        return value

    @property
    def is_cluster(self) -> bool:
        """True in the scaled profile: other servers and workers may share the work."""
        return self.database_url is not None

    def check_servers(self) -> None:
        """Raise ValueError unless both servers of a cluster are named, or neither."""
        if (self.database_url is None) != (self.redis_url is None):
            given, missing = ("database_url", "redis_url") if self.redis_url is None else ("redis_url", "database_url")
            raise ValueError(f"{given} is set and {missing} is not: a cluster needs both, and one server alone neither")
        for name, schemes in _SCHEMES.items():
            url = getattr(self, name)
            if url is not None and not url.get_secret_value().startswith(schemes):
                raise ValueError(f"{name}: it must begin with one of {', '.join(schemes)}")
