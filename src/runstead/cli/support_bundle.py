"""``runstead support-bundle``: one file with what finding a fault needs, without secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from runstead.private_files import write_private
from runstead.runtime.json_types import JsonObject
from runstead.settings import Settings
from runstead.version import __version__

from .doctor import run_checks
from .output import CommandError, Output
from .request import ServeRequest
from .secrets_removal import REMOVED, SecretsRemoval, is_secret_name, secrets_of

_LINES: Final = 2_000
_TAIL_BYTES: Final = 4 * 1024 * 1024
_OURS: Final = re.compile(r"^(RUNSTEAD|LANG|OTEL|PYTHON|UV_|HTTPS?_PROXY|NO_PROXY)", re.IGNORECASE)


def make_bundle(request: ServeRequest, output: Output, *, file: Path, log: Path | None) -> None:
    """Write the bundle to ``file``, with the last lines of ``log``. Raises CommandError."""
    if file.exists():
        raise CommandError(f"{file} exists", "name another file")
    settings = request.settings()
    removal = SecretsRemoval([*secrets_of(settings, os.environ), *_secrets_of_configuration(request, settings)])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in _contents(request, settings, log):
            if isinstance(content, str):
                text = removal.text(content)
            else:
                # Before it becomes text, so that it stays JSON.
                text = json.dumps(removal.value(content), indent=1, default=str)
            bundle.writestr(name, text + "\n")
    write_private(file, packed.getvalue())
    output.line("support_bundle", file=str(file), bytes=file.stat().st_size)
    output.say(f"Wrote {file} without secrets; look into it before you send it", style="bold")


def _contents(request: ServeRequest, settings: Settings, log: Path | None) -> Iterator[tuple[str, object]]:
    yield "about.json", _about()
    yield "settings.json", _settings(settings)
    yield "environment.json", sorted(name for name in os.environ if _OURS.match(name) or is_secret_name(name))
    if (configuration := _configuration(request, settings)) is not None:
        yield "langgraph.json", configuration
    yield "doctor.json", [asdict(finding) for finding in run_checks(request)]
    yield "metrics.txt", _metrics(settings)
    if log is not None:
        yield "log.txt", _last_lines(log)


def _about() -> JsonObject:
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "runstead": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "made_at": datetime.now(UTC).isoformat(),
        "packages": dict(sorted(packages.items())),
    }


def _settings(settings: Settings) -> JsonObject:
    found: JsonObject = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        found[name] = (
            REMOVED if isinstance(value, SecretStr) else settings.model_dump(mode="json", include={name})[name]
        )
    return found


def _file_of(request: ServeRequest, settings: Settings) -> JsonObject | None:
    try:
        file = request.configuration(settings).file
        found = None if file is None else json.loads(file.read_text(encoding="utf-8-sig"))
    except (CommandError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _configuration(request: ServeRequest, settings: Settings) -> JsonObject | None:
    """Return langgraph.json without the values of its variables and headers."""
    if (found := _file_of(request, settings)) is None:
        return None
    if isinstance(env := found.get("env"), dict):
        found["env"] = dict.fromkeys(env, REMOVED)
    if isinstance(webhooks := found.get("webhooks"), dict) and isinstance(webhooks.get("headers"), dict):
        found["webhooks"] = {**webhooks, "headers": dict.fromkeys(webhooks["headers"], REMOVED)}
    return found


def _secrets_of_configuration(request: ServeRequest, settings: Settings) -> Iterator[str]:
    found = _file_of(request, settings) or {}
    webhooks = found.get("webhooks")
    headers = webhooks.get("headers") if isinstance(webhooks, dict) else None
    for values in (found.get("env"), headers):
        if isinstance(values, Mapping):
            yield from (value for value in values.values() if isinstance(value, str))


def _metrics(settings: Settings) -> str:
    import httpx

    addresses = [f"{settings.url}/metrics"]
    if settings.metrics_port:
        addresses.insert(0, f"http://{settings.metrics_host}:{settings.metrics_port}/metrics")
    for address in addresses:
        try:
            answer = httpx.get(address, timeout=5, trust_env=False)
        except httpx.HTTPError:
            continue
        if answer.status_code == httpx.codes.OK:
            return answer.text
    return f"no server answers at {' or '.join(addresses)} without credentials"


def _last_lines(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise CommandError(f"{log} cannot be read: {error.strerror or error}", "leave --log out") from error
    return "\n".join(lines[-_LINES:])
