"""Settings for operators, each with its unit. Flags take precedence over the file, the file over the environment.

The file is ``runstead.toml`` in the project's directory, or the one named by ``--settings``. Relative paths in it are
relative to the file, those of flags and variables to the working directory. `runstead.bootstrap` passes the values to
the components.
"""

import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.validation_texts import did_you_mean, problem_of

from .access import AccessSettings
from .approvals import ApprovalSettings
from .channels import ChannelSettings
from .cluster import ClusterSettings
from .execution import ExecutionSettings
from .features import FeatureSettings
from .limits import LimitSettings
from .retention import RetentionSetting
from .steering import SteeringSettings
from .streams import StreamSettings

SETTINGS_FILE: Final = "runstead.toml"
CONFIG_FILE: Final = "langgraph.json"
ENV_PREFIX: Final = "RUNSTEAD_"
_PATHS: Final = ("data_dir", "config", "encryption_keys_file", "files_dir")


class SettingsError(Exception):
    """A setting is invalid; the text names it, its source and the fix."""


# Pydantic orders the fields by the bases, from the last one to the first.
class Settings(
    LimitSettings,
    SteeringSettings,
    ChannelSettings,
    ApprovalSettings,
    FeatureSettings,
    StreamSettings,
    ExecutionSettings,
    ClusterSettings,
    AccessSettings,
    BaseSettings,
):
    """Settings of one server. Create with `load_settings`, which knows the precedence of the three sources.

    Each base has the settings of an area; the remaining ones are here.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True)

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
    retention: tuple[RetentionSetting, ...] = Field(
        default=(),
        description="Rules for what is deleted while its thread stays (a JSON list; the first rule that fits a thread "
        "counts): docs/operations.md. Empty: nothing.",
    )
    show_errors: bool | None = Field(
        default=None,
        description="Send clients the texts of all errors of agents, instead of only those that authors raise; the "
        "log always has all. Unset: true for `runstead dev`, false for `runstead serve`.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port that serves only metrics and health (`/metrics`, `/ok`, `/ready`), without authentication; 0 "
        "takes a free one. Also for workers. Unset: none; a server has `/metrics` beside its other routes.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of that port. Loopback by default.")
    metrics_scope: str = Field(
        default="metrics",
        min_length=1,
        description="Scope or permission required to read `/metrics` of a server with authentication, which operators "
        "may read too. `*`: it is open to all callers, without credentials.",
    )
    traces: bool = Field(
        default=False,
        description="Send traces by OpenTelemetry; needs `pip install 'runstead[otel]'`. The OTEL_* variables say "
        "where to, such as OTEL_EXPORTER_OTLP_ENDPOINT.",
    )
    trace_level: Literal["runs", "calls", "all"] = Field(
        default="calls",
        description="Spans of these traces: `runs` (requests, queue, attempts), `calls` (also models and tools), or "
        "`all` (also agents and retrievers; costs processor time: docs/operations.md).",
    )
    trace_contents: bool = Field(
        default=False,
        description="Put the texts of messages, and the arguments and results of tools, into these traces; needs "
        "`trace_level` `all`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Minimum level of log lines."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Format of log lines: `text`, or `json` (one object per line)."
    )

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
    def _check_combinations(self) -> "Settings":
        self.check_servers()
        if self.max_concurrent_runs == 0 and self.database_url is None:
            raise ValueError("max_concurrent_runs is 0, and without database_url there are no workers to execute runs")
        self.check_authentication()
        if self.encryption_keys is not None and self.encryption_keys_file is not None:
            raise ValueError("encryption_keys and encryption_keys_file are both set; keep one of the two")
        if self.run_events == "jsonl" and self.database_url is not None:
            raise ValueError("run_events is jsonl, whose files only one server can see: a cluster keeps them with sql")
        return self


def load_settings(
    flags: JsonMapping | None = None, *, file: Path | None = None, project: Path | None = None
) -> Settings:
    """Load the settings from flags (None counts as not given), the file and the environment, in this order of
    precedence.

    ``file`` must exist if it is named; otherwise ``runstead.toml`` of ``project`` (the working directory) is read if it
    exists. Raises SettingsError.
    """
    from_flags = {name: _from_json(name, value) for name, value in (flags or {}).items() if value is not None}
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


def _from_json(name: str, value: object) -> object:
    """Return the list or object that a flag gives as JSON; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{") or name not in Settings.model_fields:
        return value
    kind = Settings.model_fields[name].annotation
    if not any(get_origin(one) in (tuple, dict) for one in (kind, *get_args(kind))):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise SettingsError(f"flag --{name.replace('_', '-')}: is not JSON ({error}), got {value!r}") from error


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
        if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            guess = did_you_mean(name, Settings.model_fields)
            lines.append(f"{source}: there is no such setting{guess or '; docs/settings.md lists them'}")
        else:
            inside = "".join(f"{part}: " for part in problem["loc"][1:])
            lines.append(f"{source}: {inside}{problem_of(problem)}, got {problem['input']!r}")
    return "\n".join(lines)
