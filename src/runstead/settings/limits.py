"""Settings of limits, roles and the audit log."""

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runstead.runtime.runs.budgets import BudgetScope

_RATE: Final = r"^[1-9]\d{0,8}/([1-9]\d{0,4} )?(second|minute|hour|day)s?$"
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


def requests_and_seconds(rate: str) -> tuple[int, int]:
    """Return the amount and the seconds of a rate such as ``600/minute`` or ``100/10 seconds``."""
    amount, _, period = rate.partition("/")
    number, _, unit = period.strip().rpartition(" ")
    return int(amount), int(number or 1) * _UNITS[unit.rstrip("s")]


class BudgetSetting(BaseModel):
    """Budget of tokens or costs, in the form of langgraph.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per: tuple[BudgetScope, ...] = Field(min_length=1)
    tokens: int | None = Field(default=None, gt=0, le=2**53)
    usd: float | None = Field(default=None, gt=0, le=1e12)
    on_exceeded: Literal["stop", "pause"] = "stop"
    warn_at: float = Field(default=0.8, gt=0, le=1)
    strict: bool = False

    @model_validator(mode="after")
    def _check_amount(self) -> Self:
        if self.tokens is None and self.usd is None:
            raise ValueError("a budget needs tokens or usd")
        return self


class LimitSettings(BaseModel):
    """Settings of the sections "Limits for clients" and "Roles, audit and limits per user"."""

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
    read_only_scope: str | None = Field(
        default=None,
        min_length=1,
        description="Scope of users who may only read, whatever other scopes they have. Unset: no user has it.",
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
    limit_user_tokens_per_day: int | None = Field(
        default=None,
        ge=1,
        le=2**53,
        description="Tokens that the runs of one user may use in a day (UTC); beyond that, 429, and running ones stop. "
        "Unset: no limit.",
    )
    limit_tenant_tokens_per_day: int | None = Field(
        default=None, ge=1, le=2**53, description="The same for all users of a tenant together. Unset: no limit."
    )
    limit_user_usd_per_day: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description="The same for the cost of one user's runs (US dollars), by the prices of the extra `prices`. "
        "Unset: no limit.",
    )
    limit_tenant_usd_per_day: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description="The same for all users of a tenant together (US dollars). Unset: no limit.",
    )
    budgets: tuple[BudgetSetting, ...] = Field(
        default=(),
        description="Budgets of tokens and costs (a JSON list of objects, in addition to those of `langgraph.json`): "
        "docs/limits.md.",
    )
    budget_webhook: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        max_length=2048,
        description="Address that is called once when a budget is nearly used up, and once when it is used up, in each "
        "of its windows: docs/limits.md. Unset: none is.",
    )
    cron_min_interval_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Shortest time between two runs of a cron (seconds); more frequent ones are refused. Unset: none.",
    )
