"""Sections of langgraph.json as types. The description of a field is the expected value that error texts show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.budgets import BudgetScope

BUILD_ONLY: Final = frozenset(
    [
        "$schema",
        "python_version",
        "node_version",
        "base_image",
        "image_distro",
        "dockerfile_lines",
        "pip_config_file",
        "pip_installer",
        "source",
        "api_version",
        "keep_pkg_tools",
        "internal_docker_tag",
        "_INTERNAL_docker_tag",
    ]
)
"""Top-level keys for building images, which are ignored without a warning."""


class Section(BaseModel):
    """Object in the file. Unknown keys are not an error; `unknown_keys` finds them.

    A key that is null counts as missing, unless null is one of its values.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        fields = {info.alias or name: info for name, info in cls.model_fields.items()} | cls.model_fields
        return {
            key: value
            for key, value in data.items()
            if value is not None or key not in fields or fields[key].default is None
        }


class Ttl(Section):
    """Time to live of stored items."""

    strategy: Literal["delete", "keep_latest"] = Field(default="delete", description='"delete" or "keep_latest"')
    default_ttl: float | None = Field(
        default=None, gt=0, le=500_000_000, description="minutes, such as 43200; null for no expiry"
    )
    sweep_interval_minutes: float = Field(default=5, gt=0, description="minutes between two sweeps, such as 5")
    refresh_on_read: bool = Field(default=True, description="true or false: reading restarts the time")


class ThreadTtl(Section):
    """Time to live of unused threads, or of their history."""

    strategy: Literal["delete", "keep_latest"] = Field(default="delete", description='"delete" or "keep_latest"')
    default_ttl: float | None = Field(
        default=None,
        ge=1 / 60,
        le=100 * 366 * 24 * 60,
        description="minutes, such as 43200, at least a second and at most a hundred years; null for no expiry",
    )
    sweep_interval_minutes: float = Field(default=5, gt=0, description="minutes between two sweeps, such as 5")
    sweep_limit: int = Field(default=1_000, ge=1, description="maximum threads per sweep, such as 1000")


class StoreIndex(Section):
    """Embedding of store items for semantic search."""

    dims: int = Field(gt=0, description="length of the embedding, such as 1536")
    embed: str = Field(description='"provider:model", "./file.py:function" or "runstead:hashed"')
    fields: list[str] = Field(default=["$"], min_length=1, description='paths inside the value, such as ["text"]')


class StorePart(Section):
    index: StoreIndex | None = Field(
        default=None, description='an object such as {"dims": 1536, "embed": "./embed.py:embed"}'
    )
    ttl: Ttl | None = Field(default=None, description='an object such as {"default_ttl": 43200}')
    path: str | None = Field(default=None, description='"./file.py:variable" of a store of your own')


def _false_is_null(value: object) -> object:
    return None if value is False else value


class Serde(Section):
    allowed_json_modules: Annotated[list[list[str]] | Literal[True] | None, BeforeValidator(_false_is_null)] = Field(
        default=None, description="list of module paths, or true"
    )
    allowed_msgpack_modules: Annotated[list[list[str]] | Literal[True] | None, BeforeValidator(_false_is_null)] = Field(
        default=None, description="list of module paths, or true"
    )
    pickle_fallback: bool = Field(default=False, description="true or false")


class CheckpointerPart(Section):
    backend: str = Field(default="default", description='"default"; the profile decides where checkpoints are kept')
    path: str | None = Field(default=None, description='"./file.py:variable" of a checkpointer of your own')
    uri: str | None = Field(default=None, description="the address of the backend")
    ttl: ThreadTtl | None = Field(default=None, description='an object such as {"default_ttl": 43200}')
    serde: Serde | None = Field(default=None, description='an object such as {"allowed_json_modules": true}')


def _plain_prefix(prefix: object) -> object:
    """Return ``prefix`` without a trailing slash; None for an empty one."""
    return (prefix.removesuffix("/") or None) if isinstance(prefix, str) else prefix


def _check_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(str(error)) from error
    return text


class Cors(Section):
    """CORS options, as in Starlette's CORSMiddleware."""

    allow_origins: list[str] = Field(default=[], description='list such as ["https://example.org"]')
    allow_methods: list[str] = Field(default=["*"], description='list such as ["GET", "POST"]')
    allow_headers: list[str] = Field(default=["*"], description='list such as ["x-api-key"]')
    allow_credentials: bool = Field(default=False, description="true or false")
    allow_origin_regex: Annotated[str, AfterValidator(_check_expression)] | None = Field(
        default=None, description="a regular expression"
    )
    allow_private_network: bool = Field(default=False, description="true or false")
    expose_headers: list[str] = Field(default=[], description="list of header names")
    max_age: int = Field(default=600, ge=0, description="seconds, such as 600")


class HeaderChoice(Section):
    """Selection of request headers by patterns with ``*``. ``exclude`` takes precedence over ``include``."""

    include: list[str] = Field(default=[], alias="includes", description='list of patterns such as ["x-tenant-*"]')
    exclude: list[str] = Field(default=[], alias="excludes", description='list of patterns such as ["x-secret-*"]')

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True)


class HttpPart(Section):
    app: str | None = Field(default=None, description='"./file.py:app" of an ASGI app of your own')
    cors: Cors | None = Field(default=None, description='an object such as {"allow_origins": ["*"]}')
    configurable_headers: HeaderChoice = Field(
        default=HeaderChoice(), description='an object such as {"include": ["x-tenant"]}'
    )
    logging_headers: HeaderChoice = Field(
        default=HeaderChoice(), description='an object such as {"include": ["x-tenant"]}'
    )
    disable_assistants: bool = Field(default=False, description="true or false")
    disable_threads: bool = Field(default=False, description="true or false")
    disable_runs: bool = Field(default=False, description="true or false")
    disable_store: bool = Field(default=False, description="true or false")
    disable_mcp: bool = Field(default=False, description="true or false")
    disable_a2a: bool = Field(default=False, description="true or false")
    disable_meta: bool = Field(default=False, description="true or false")
    disable_ui: bool = Field(default=False, description="true or false")
    disable_webhooks: bool = Field(default=False, description="true or false")
    disable_event_streaming: bool = Field(default=False, description="true or false")
    mount_prefix: Annotated[str | None, BeforeValidator(_plain_prefix)] = Field(
        default=None, pattern=r"^(/[^/?#\s]+)+$", description='a path such as "/agents"'
    )
    middleware_order: Literal["auth_first", "middleware_first"] | None = Field(
        default=None, description='"auth_first" or "middleware_first"'
    )
    enable_custom_route_auth: bool = Field(default=False, description="true or false")


class Security(Section):
    """Security section of the API documentation, in OpenAPI's format."""

    securitySchemes: dict[str, JsonObject] = Field(  # noqa: N815
        default={}, description='an object such as {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}'
    )
    security: list[dict[str, list[str]]] = Field(default=[], description='a list such as [{"key": []}]')
    paths: dict[str, dict[str, list[dict[str, list[str]]]]] = Field(
        default={}, description='an object such as {"/threads": {"POST": [{"key": []}]}}'
    )


class AuthPart(Section):
    path: str | None = Field(default=None, description='"./auth.py:auth"')
    disable_studio_auth: bool = Field(default=False, description="true or false")
    allow_langsmith_api_keys: bool = Field(default=False, description="true or false")
    openapi: Security | None = Field(default=None, description="an object with securitySchemes and security")
    cache: JsonObject | None = Field(default=None, description='an object such as {"ttl_seconds": 60}')


class PriorityPart(Section):
    """Priority of a thread's runs."""

    path: str | None = Field(default=None, description='"./priority.py:priority"')


class BudgetPart(Section):
    """Budget of tokens or costs. Specific to Runstead."""

    per: list[BudgetScope] = Field(
        min_length=1,
        description='some of "run", "thread", "user", "tenant", "graph" and "day", such as ["user", "day"]',
    )
    tokens: int | None = Field(default=None, gt=0, le=2**53, description="tokens, such as 100000")
    usd: float | None = Field(default=None, gt=0, le=1e12, description="US dollars, such as 5.0")
    on_exceeded: Literal["stop", "pause"] = Field(default="stop", description='"stop" or "pause"')
    warn_at: float = Field(default=0.8, gt=0, le=1, description="the part at which runs warn, such as 0.8")
    strict: bool = Field(default=False, description="true or false: whether calls that may exceed it are refused")

    @model_validator(mode="after")
    def _check_amount(self) -> Self:
        if self.tokens is None and self.usd is None:
            raise ValueError("a budget needs tokens or usd")
        return self


class ApprovalPart(Section):
    """Usual rules for the questions of graphs. Specific to Runstead."""

    graphs: list[str] = Field(default=[], description='list of graphs such as ["agent"]; an empty list for all')
    deadline: float | None = Field(default=None, gt=0, description="seconds, such as 86400")
    remind_after: float | None = Field(default=None, gt=0, description="seconds, such as 3600")
    escalate_after: float | None = Field(default=None, gt=0, description="seconds, such as 7200")
    escalate_to: str | None = Field(
        default=None, min_length=1, max_length=2_048, description="a user id, or the URL of a webhook"
    )
    default: Any = Field(default=None, description="the answer at the deadline, as JSON")


class WebhookUrlPart(Section):
    """Restrictions of the URLs that may be called."""

    require_https: bool = Field(default=False, description="true or false")
    allowed_domains: list[str] = Field(default=[], description='list such as ["hooks.example.com", "*.example.org"]')
    allowed_ports: list[int] | None = Field(default=None, description="list such as [443]")
    max_url_length: int = Field(default=4096, gt=0, description="characters, such as 4096")
    disable_loopback: bool = Field(default=True, description="true or false: whether this machine may not be called")
    disable_private_ips: bool = Field(default=True, description="true or false: whether its network may not be")


class WebhooksPart(Section):
    env_prefix: str = Field(default="LG_WEBHOOK_", description='the beginning of names such as "LG_WEBHOOK_"')
    url: WebhookUrlPart = Field(default=WebhookUrlPart(), description='an object such as {"require_https": true}')
    headers: dict[str, str] = Field(
        default={}, description='an object such as {"authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}"}'
    )
    allowed_fields: list[str] | None = Field(default=None, description='list such as ["run_id", "status", "values"]')


class Document(Section):
    graphs: JsonObject = Field(min_length=1, description='an object such as {"agent": "./agent.py:graph"}')
    dependencies: list[str] = Field(default=["."], description='list such as ["."]')
    env: str | dict[str, str] | None = Field(default=None, description='".env", or an object of strings')
    http: HttpPart = Field(default=HttpPart(), description="an object")
    store: StorePart = Field(default=StorePart(), description="an object")
    checkpointer: CheckpointerPart = Field(default=CheckpointerPart(), description="an object")
    auth: AuthPart | None = Field(default=None, description='an object such as {"path": "./auth.py:auth"}')
    webhooks: WebhooksPart = Field(default=WebhooksPart(), description='an object such as {"headers": {}}')
    encryption: JsonObject | None = Field(
        default=None, description='an object such as {"path": "./crypt.py:encryption"}'
    )
    priority: PriorityPart = Field(
        default=PriorityPart(), description='an object such as {"path": "./priority.py:priority"}'
    )
    approvals: list[ApprovalPart] = Field(
        default=[], description='list such as [{"graphs": ["agent"], "deadline": 86400}]'
    )
    budgets: list[BudgetPart] = Field(
        default=[], description='a list such as [{"per": ["user", "day"], "tokens": 100000}]'
    )
    ui: JsonObject | None = Field(default=None, description='an object such as {"agent": "./ui.tsx"}')
    ui_config: JsonObject | None = Field(default=None, description='an object such as {"shared": ["react"]}')


def expected_at(place: Sequence[str], model: type[Section] = Document) -> str:
    """Return the description of the value that the file should have at ``place``."""
    field_info = model.model_fields.get(place[0])
    if field_info is None:
        return "something else"
    part = _section_of(field_info.annotation)
    deeper = expected_at(place[1:], part) if part and len(place) > 1 else None
    return deeper or field_info.description or "something else"


def unknown_keys(
    data: JsonMapping, model: type[Section] = Document, prefix: str = ""
) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the dotted keys of ``data`` that are unknown, each with the keys that are known at its place."""
    known = {info.alias or name: info for name, info in model.model_fields.items()} | dict(model.model_fields)
    for key, value in data.items():
        if key in known:
            part = _section_of(known[key].annotation)
            if part and isinstance(value, dict):
                yield from unknown_keys(value, part, f"{prefix}{key}.")
        elif prefix or key not in BUILD_ONLY:
            yield f"{prefix}{key}", known


def _section_of(annotation: object) -> type[Section] | None:
    options = getattr(annotation, "__args__", (annotation,))
    return next((option for option in options if isinstance(option, type) and issubclass(option, Section)), None)
