"""Settings for operators, each with its unit. Flags take precedence over the file, the file over the environment.

The file is ``runstead.toml`` in the project's directory, or the one named by ``--settings``. Relative paths in it are
relative to the file, those of flags and variables to the working directory. `runstead.bootstrap` passes the values to
the components.
"""

import hashlib
import ipaddress
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.validation_texts import did_you_mean, problem_of

SETTINGS_FILE: Final = "runstead.toml"
CONFIG_FILE: Final = "langgraph.json"
ENV_PREFIX: Final = "RUNSTEAD_"
_PATHS: Final = ("data_dir", "config", "encryption_keys_file", "files_dir")
_LONGEST_QUEUE: Final = 128
_MOST_URGENT: Final = 2**31 - 1
OIDC_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""All asymmetric: with a shared secret, or with `none`, clients could make tokens."""
_RATE: Final = r"^[1-9]\d{0,8}/([1-9]\d{0,4} )?(second|minute|hour|day)s?$"
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_SCHEMES: Final = {"database_url": ("postgresql://", "postgres://"), "redis_url": ("redis://", "rediss://")}


def is_https_or_loopback(url: str) -> bool:
    """Return whether ``url`` is reached over https, or is on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme != "http":
        return parts.scheme == "https" and bool(host)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def requests_and_seconds(rate: str) -> tuple[int, int]:
    """Return the amount and the seconds of a rate such as ``600/minute`` or ``100/10 seconds``."""
    amount, _, period = rate.partition("/")
    number, _, unit = period.strip().rpartition(" ")
    return int(amount), int(number or 1) * _UNITS[unit.rstrip("s")]


class SettingsError(Exception):
    """A setting is invalid; the text names it, its source and the fix."""


class Settings(BaseSettings):
    """Settings of one server. Create with `load_settings`, which knows the precedence of the three sources."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True)

    # --- where -----------------------------------------------------------------------------------------------------
    host: str = Field(default="127.0.0.1", description="Address to listen on. Loopback by default.")
    port: int = Field(default=2024, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    allow_unauthenticated: bool = Field(
        default=False,
        description="Allow an address that other machines can reach without authentication.",
    )
    auth: Literal["none", "keys", "oidc", "langgraph", "custom"] | None = Field(
        default=None,
        description="Authentication mode: `none`, `keys` (API keys of `runstead keys`), `oidc` (tokens of the issuer "
        "`oidc_issuer`), `langgraph` (handlers from langgraph.json), or `custom` (your own `authenticator`). Unset: "
        "`custom` with `authenticator`, `oidc` with `oidc_issuer`, `langgraph` if there are handlers, else `none`.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="OIDC issuer whose access tokens are accepted (URL, exactly as in the claim `iss`). Its discovery "
        "document names the signing keys.",
    )
    oidc_audience: tuple[str, ...] = Field(
        default=(),
        description='Audiences, one of which `aud` must contain (a JSON list such as `["runstead"]`). '
        "Required with oidc_issuer.",
    )
    oidc_algorithms: tuple[str, ...] = Field(
        default=("RS256", "ES256"),
        description="Accepted signature algorithms (a JSON list), of RS256/384/512, PS256/384/512, ES256/384/512, "
        "EdDSA and Ed25519.",
    )
    oidc_jwks_url: str | None = Field(
        default=None,
        description="Address of the issuer's signing keys (URL). Unset: the one in its discovery document.",
    )
    oidc_jwks_seconds: float = Field(
        default=600,
        gt=0,
        description="Age at which signing keys are fetched again (seconds). An unknown key id fetches them at once.",
    )
    oidc_leeway_seconds: int = Field(
        default=30, ge=0, le=600, description="Tolerated difference between the clocks of issuer and server (seconds)."
    )
    oidc_user_claim: str = Field(default="sub", min_length=1, description="Claim that is the user's id (path).")
    oidc_tenant_claim: str | None = Field(
        default=None,
        min_length=1,
        description="Claim that is the user's tenant (path such as `organization.id`). Unset: all users are in one "
        "tenant.",
    )
    oidc_scope_claims: tuple[str, ...] = Field(
        default=("scope",),
        description='Claims that hold scopes (a JSON list of paths such as `["scope", "realm_access.roles"]`).',
    )
    authenticator: str | None = Field(
        default=None,
        description="Your own authenticator (`module:object` or `./file.py:object`): an object with `authenticate`, or "
        "a function or class that returns one.",
    )
    observers: tuple[str, ...] = Field(
        default=(),
        description="Further observers of runs (a JSON list of `module:object`).",
    )
    event_store: str | None = Field(
        default=None, description="Your own event store (`module:object`), instead of the one of `run_events`."
    )
    bridge: str | None = Field(default=None, description="Your own stream bridge (`module:object`).")
    checkpointer: str | None = Field(default=None, description="Your own checkpoint store (`module:object`).")
    dispatcher: str | None = Field(
        default=None, description="Factory of your own dispatcher of runs (`module:object`)."
    )
    allowed_hosts: tuple[str, ...] | None = Field(
        default=None,
        description="Further host names that a server without authentication answers to (a JSON list such as "
        '`["chat.example.org"]`, or `["*.example.org"]`). Unset: only names of this machine, or any name '
        "with allow_unauthenticated.",
    )
    allowed_origins: tuple[str, ...] | None = Field(
        default=None,
        description="Web pages that may call the server (a JSON list of origins such as "
        '`["https://smith.langchain.com"]`), in addition to http.cors of langgraph.json. Unset: pages of '
        "this machine, or all with authentication.",
    )
    auth_stored_fields: tuple[str, ...] | None = Field(
        default=None,
        description="Fields of a user from the `authenticate` handler that may be stored with runs and crons, beside "
        'identity, display name and permissions (a JSON list such as `["org"]`). Others reach runs that the accepting '
        "process itself executes before a restart. Unset: all; with runs until they have ended.",
    )
    access_check_seconds: float = Field(
        default=5,
        gt=0,
        description="How often the caller of an open stream or WebSocket is authenticated again (seconds). When access "
        "has ended, it is closed.",
    )
    shared_assistants_scope: str | None = Field(
        default=None,
        description="Scope or permission required to change default assistants. Unset: changes are refused, except on "
        "a server without authentication.",
    )
    config: Path | None = Field(
        default=None, description="The langgraph.json to serve (path). Unset: the one in the working directory."
    )
    data_dir: Path = Field(
        default=Path(),
        description="Directory for runs, threads, checkpoints and events (path). "
        "Unset: one per project in the user's data directory, never the working directory.",
    )

    # --- many servers and workers ----------------------------------------------------------------------------------
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

    # --- how runs are executed -------------------------------------------------------------------------------------
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

    # --- streams ---------------------------------------------------------------------------------------------------
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

    # --- files -----------------------------------------------------------------------------------------------------
    files_dir: Path | None = Field(
        default=None,
        description="Folder for the files of threads; in a cluster, one that all servers and workers share. Unset: "
        "files in the data directory, and none in a cluster.",
    )
    files_max_file_bytes: int = Field(
        default=100 * 1024 * 1024, ge=1, description="Maximum size of a file, and of all files in one upload (bytes)."
    )
    files_user_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=1,
        description="Size of all files of a user, beyond which uploads are refused (bytes). What agents write counts, "
        "but is not refused.",
    )

    # --- crons -----------------------------------------------------------------------------------------------------
    cron_grace_seconds: float = Field(
        default=86_400,
        ge=0,
        description="Maximum delay for catching up (seconds): executions missed during downtime are merged into one "
        "run if the last one is at most this old.",
    )

    # --- webhooks --------------------------------------------------------------------------------------------------
    webhook_secrets: SecretStr | None = Field(
        default=None,
        description="Secrets that sign webhooks: whsec_ and base64. Several, separated by spaces, all sign, for "
        "rotation. Unset: webhooks are not signed.",
    )
    webhook_timeout_seconds: float = Field(
        default=10, gt=0, le=300, description="Time limit for the receiver's answer (seconds)."
    )
    webhook_max_attempts: int = Field(default=8, ge=1, description="Attempts of one delivery (count).")
    webhook_retry_seconds: float = Field(
        default=5, gt=0, description="First pause between two attempts (seconds); later pauses are longer."
    )
    webhook_feedback: bool = Field(
        default=False, description="Call the webhook of a run also for feedback on the run (docs/feedback.md)."
    )
    webhook_allow_loopback: bool = Field(default=False, description="Allow webhooks to this machine; for development.")

    # --- encryption at rest ----------------------------------------------------------------------------------------
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Keys of encryption at rest: base64 of 32 bytes, as `runstead encryption new-key` "
        "prints one. Several, separated by spaces: the first one encrypts, all of them decrypt. Unset: "
        "LANGGRAPH_AES_KEY if that is set, else nothing is encrypted.",
    )
    encryption_keys_file: Path | None = Field(
        default=None, description="A file with these keys, one a line (path), instead of `encryption_keys`."
    )
    encryption_json_keys: tuple[str, ...] = Field(
        default=(),
        description="Keys of metadata whose values are encrypted too (a JSON list), and then cannot be searched for. "
        "LANGGRAPH_AES_JSON_KEYS adds to them.",
    )

    # --- limits for clients ----------------------------------------------------------------------------------------
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1,
        description="Largest request body or WebSocket message that is accepted (bytes).",
    )
    memory_in_flight_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Bytes that request bodies and unsent answers may hold at once, and those that the inputs of "
        "executing runs may (bytes each). Requests beyond that get 503; runs wait. Unset: a 64th of the memory that "
        "the process may use, at least max_body_bytes.",
    )
    memory_in_flight_user_bytes: int | None = Field(
        default=None,
        ge=1,
        description="The same for the requests of one user (bytes); beyond that, 429. Unset: half of "
        "memory_in_flight_bytes.",
    )
    max_page_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1,
        description="Bytes in one page of a list. Of threads beyond that, `values` is null; pages of runs, assistants, "
        "crons, items and states end there. The header `runstead-remark` says so.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="Connections that the server answers at once (count); requests beyond that get 503, except `/ok`. "
        "Unset: half of the files that the process may open, at most 10000.",
    )
    connection_backlog: int = Field(
        default=512, ge=1, description="Connections that may wait to be accepted (count); the system may allow fewer."
    )
    request_timeout_seconds: float = Field(
        default=20,
        gt=0,
        description="Time for the headers of a request, and between two pieces of its body (seconds), before its "
        "connection is closed.",
    )

    # --- roles, audit and limits per user --------------------------------------------------------------------------
    admin_scope: str | None = Field(
        default=None,
        description="Scope of users with access to all threads, runs, assistants and crons of their tenant, and to its "
        "audit log. Unset: no user has it. Without effect with auth handlers, which decide themselves.",
    )
    operator_scope: str | None = Field(
        default=None,
        description="Scope of users that act as admins of any tenant, which they name in the header "
        "`x-runstead-tenant`. Unset: no user has it.",
    )
    audit: bool | None = Field(
        default=None,
        description="Record in the audit log what users change, what they are refused, and what admins and operators "
        "read. Unset: true with authentication.",
    )
    limit_user_requests: str | None = Field(
        default=None,
        pattern=_RATE,
        description="Requests of one user within a time (such as `600/minute`); beyond that, 429. Unset: no limit.",
    )
    limit_tenant_requests: str | None = Field(
        default=None, pattern=_RATE, description="The same for all users of a tenant together. Unset: no limit."
    )
    limit_user_runs: int | None = Field(
        default=None,
        ge=1,
        description="Runs of one user that have not ended (count); new ones beyond that get 429. Unset: no limit.",
    )
    limit_tenant_runs: int | None = Field(
        default=None, ge=1, description="The same for all users of a tenant together (count). Unset: no limit."
    )
    limit_user_queued_runs: int | None = Field(
        default=None,
        ge=1,
        description="Runs of one user that wait to be executed (count); new ones beyond that get 429. Unset: no limit.",
    )
    limit_tenant_queued_runs: int | None = Field(
        default=None, ge=1, description="The same for all users of a tenant together (count). Unset: no limit."
    )
    limit_user_streams: int | None = Field(
        default=None,
        ge=1,
        description="Streams, WebSockets and waiting requests of one user that are open at once (count); beyond that, "
        "429. Unset: no limit.",
    )
    limit_tenant_streams: int | None = Field(
        default=None, ge=1, description="The same for all users of a tenant together (count). Unset: no limit."
    )
    cron_min_interval_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Shortest time between two runs of a cron (seconds); more frequent ones are refused. Unset: none.",
    )

    # --- the rest --------------------------------------------------------------------------------------------------
    run_events: Literal["sql", "jsonl"] = Field(
        default="sql",
        description="Storage of trace and message events: `sql` (the database) or `jsonl` (files of JSON lines).",
    )
    run_events_days: float | None = Field(
        default=None,
        gt=0,
        description="Time after which events of runs are deleted (days), also of threads that are still used. "
        "Unset: they are kept as long as their thread.",
    )
    show_errors: bool | None = Field(
        default=None,
        description="Send clients the texts of all errors of agents, instead of only those that authors raise; the "
        "log always has all. Unset: true for `runstead dev`, false for `runstead serve`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum level of log lines."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Format of log lines: `text`, or `json` (one object per line)."
    )

    @field_validator("agent_isolation", mode="before")
    @classmethod
    def _rename_isolation(cls, value: object) -> object:
        """Accept the names of the first versions."""
        return {"thread": "run", "server": "shared"}.get(value, value) if isinstance(value, str) else value

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

    @model_validator(mode="before")
    @classmethod
    def _place_data(cls, values: JsonObject) -> JsonObject:
        if not values.get("data_dir"):
            config = values.get("config")
            project = Path(config).expanduser().resolve().parent if config else Path.cwd()
            values = {**values, "data_dir": default_data_dir(project)}
        return values

    @model_validator(mode="after")
    def _make_paths_absolute(self) -> "Settings":
        for name in _PATHS:
            if (path := getattr(self, name)) is not None:
                # Absolute from here on: a reloading server or a graph may change the working directory.
                object.__setattr__(self, name, path.expanduser().resolve())
        return self

    @model_validator(mode="after")
    def _check_cluster(self) -> "Settings":
        if (self.database_url is None) != (self.redis_url is None):
            given, missing = ("database_url", "redis_url") if self.redis_url is None else ("redis_url", "database_url")
            raise ValueError(f"{given} is set and {missing} is not: a cluster needs both, and one server alone neither")
        for name, schemes in _SCHEMES.items():
            url = getattr(self, name)
            if url is not None and not url.get_secret_value().startswith(schemes):
                raise ValueError(f"{name}: it must begin with one of {', '.join(schemes)}")
        if self.max_concurrent_runs == 0 and self.database_url is None:
            raise ValueError("max_concurrent_runs is 0, and without database_url there are no workers to execute runs")
        self._check_authentication()
        if self.encryption_keys is not None and self.encryption_keys_file is not None:
            raise ValueError("encryption_keys and encryption_keys_file are both set; keep one of the two")
        if self.run_events == "jsonl" and self.database_url is not None:
            raise ValueError("run_events is jsonl, whose files only one server can see: a cluster keeps them with sql")
        return self

    def _check_authentication(self) -> None:
        """Raise ValueError for a mode of authentication that lacks a setting."""
        if self.auth == "oidc" and self.oidc_issuer is None:
            raise ValueError("auth is oidc, and oidc_issuer is not set")
        if self.auth == "custom" and self.authenticator is None:
            raise ValueError("auth is custom, and authenticator is not set; name yours as module:object")
        if self.oidc_issuer is not None and not self.oidc_audience:
            # Without one, a token that the issuer made for any other application would be accepted.
            raise ValueError('oidc_issuer is set and oidc_audience is not; name the audience, such as ["runstead"]')
        if unknown := [name for name in self.oidc_algorithms if name not in OIDC_ALGORITHMS]:
            raise ValueError(
                f"oidc_algorithms: {', '.join(unknown)} cannot be accepted; use some of {', '.join(OIDC_ALGORITHMS)}"
            )
        for name in ("oidc_issuer", "oidc_jwks_url"):
            url = getattr(self, name)
            if url is not None and not is_https_or_loopback(url):
                raise ValueError(f"{name}: it must be an https address (http is accepted on this machine only)")

    @property
    def is_cluster(self) -> bool:
        """True in the scaled profile: other servers and workers may share the work."""
        return self.database_url is not None

    @property
    def hand_back_grace_seconds(self) -> float:
        """Seconds that a stopping process waits for code that does not react, before its run is handed back."""
        return min(self.stop_grace_seconds, max(self.shutdown_grace_seconds, 1.0))

    @property
    def is_loopback(self) -> bool:
        """True if the server can be reached only from this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """URL of the server for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def load_settings(
    flags: JsonMapping | None = None, *, file: Path | None = None, project: Path | None = None
) -> Settings:
    """Load the settings from flags (None counts as not given), the file and the environment, in this order of
    precedence.

    ``file`` must exist if it is named; otherwise ``runstead.toml`` of ``project`` (the working directory) is read if it
    exists. Raises SettingsError.
    """
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    place = file or (project or Path.cwd()) / SETTINGS_FILE
    from_file = _read(place) if file or place.is_file() else {}
    try:
        return Settings(**{**from_file, **from_flags})
    except ValidationError as error:
        raise SettingsError(_explain(error, from_flags, from_file, place)) from error


def unknown_variable_warnings(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a warning for each RUNSTEAD_* variable that matches no setting."""
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    return [
        f"{name}: no setting has this name, ignored{did_you_mean(name, known)}" for name in unknown_variables(environ)
    ]


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return RUNSTEAD_* variables that match no setting, and are probably misspelled."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    names = os.environ if environ is None else environ
    return sorted(name for name in names if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)


def default_data_dir(project: Path, environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Return the directory for a project's data on this platform, named after the project's path."""
    env = os.environ if environ is None else environ
    if platform == "win32":
        base = Path(env.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(env.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    # Two projects may have the same name, so the hash of the path distinguishes them.
    digest = hashlib.sha256(os.fsencode(project)).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", project.name).strip("-.") or "project"
    return base / "runstead" / f"{name}-{digest}"


def _read(file: Path) -> JsonObject:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SettingsError(f"{file}: there is no such settings file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read as TOML: {error}") from error
    for name in _PATHS:
        if isinstance(path := values.get(name), str):
            values[name] = file.resolve().parent / Path(path).expanduser()
    return values


def _explain(error: ValidationError, flags: JsonMapping, from_file: JsonMapping, file: Path) -> str:
    lines = []
    for problem in error.errors():
        if not problem["loc"]:
            # Concerns several settings; its input would be all of them, including passwords.
            lines.append(problem_of(problem))
            continue
        name = str(problem["loc"][0])
        if name in flags:
            source = f"flag --{name.replace('_', '-')}"
        elif name in from_file:
            source = f"{file}: {name}"
        else:
            source = f"environment variable {ENV_PREFIX}{name.upper()}"
        if problem["type"] == "extra_forbidden":
            guess = did_you_mean(name, Settings.model_fields)
            lines.append(f"{source}: there is no such setting{guess or '; docs/settings.md lists them'}")
        else:
            lines.append(f"{source}: {problem_of(problem)}, got {problem['input']!r}")
    return "\n".join(lines)
