"""Selection of the authentication mode from settings and configuration, and refusals at startup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.extensions import load_auth
from runstead.bootstrap.unsupported import UnsupportedConfiguration, auth_mode, without_effect
from runstead.cli.output import CommandError
from runstead.cli.preflight import refuse_strangers
from runstead.graphs.configuration import GraphConfiguration, read_configuration
from runstead.graphs.sections import AuthPart
from runstead.settings import Settings, load_settings


def configured(place: Path, path: str | None = None) -> GraphConfiguration:
    return GraphConfiguration(place, (), auth=AuthPart(path=path) if path else None)


def settings_of(place: Path, **settings: Any) -> Settings:
    return load_settings({"data_dir": place / "data", **settings}, project=place)


@pytest.mark.parametrize(
    ("setting", "path", "mode"),
    [
        (None, None, "none"),
        (None, "./auth.py:auth", "langgraph"),
        ("none", "./auth.py:auth", "none"),
        ("keys", None, "keys"),
        ("keys", "./auth.py:auth", "keys"),
        ("langgraph", "./auth.py:auth", "langgraph"),
    ],
)
def test_auth_mode_follows_the_setting_then_the_configured_handlers(
    setting: str | None, path: str | None, mode: str, tmp_path: Path
) -> None:
    assert auth_mode(settings_of(tmp_path, auth=setting), configured(tmp_path, path)) == mode


def test_non_loopback_address_without_authentication_is_refused(tmp_path: Path) -> None:
    handlers = configured(tmp_path, "./auth.py:auth")
    with pytest.raises(CommandError, match="authentication is off") as refused:
        refuse_strangers(configured(tmp_path), settings_of(tmp_path, host="0.0.0.0"))
    assert "runstead keys create" in str(refused.value.hint)
    with pytest.raises(CommandError):
        refuse_strangers(handlers, settings_of(tmp_path, host="0.0.0.0", auth="none"))
    refuse_strangers(handlers, settings_of(tmp_path, host="0.0.0.0"))
    refuse_strangers(configured(tmp_path), settings_of(tmp_path, host="0.0.0.0", auth="keys"))
    refuse_strangers(configured(tmp_path), settings_of(tmp_path, host="0.0.0.0", allow_unauthenticated=True))
    refuse_strangers(configured(tmp_path), settings_of(tmp_path))


def test_handlers_unused_by_the_auth_mode_cause_a_warning(tmp_path: Path) -> None:
    handlers = configured(tmp_path, "./auth.py:auth")
    (told,) = without_effect(handlers, settings_of(tmp_path, auth="keys"))
    assert told.endswith("auth.path: the setting auth is keys")
    assert list(without_effect(handlers, settings_of(tmp_path))) == []


def test_keys_without_effect_cause_warnings(tmp_path: Path) -> None:
    document = {
        "graphs": {"agent": "runstead.graphs.demo:agent"},
        "checkpointer": {"backend": "mongo"},
        "store": {"ttl": {"strategy": "keep_latest"}},
        "http": {"middleware_order": "auth_first", "enable_custom_route_auth": True},
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(document))
    told = list(without_effect(read_configuration(tmp_path / "langgraph.json"), settings_of(tmp_path)))
    keys = ("checkpointer.backend", "store.ttl.strategy", "http.middleware_order", "http.enable_custom_route_auth")
    assert [line.split(": ")[1] for line in told] == list(keys)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "there is no file './auth.py'"),
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("x = 1", "has no variable 'auth'"),
        ("auth = 1", "it is a int, not a langgraph_sdk.Auth"),
        ("from langgraph_sdk import Auth\nauth = Auth()", "no @auth.authenticate handler"),
    ],
)
async def test_server_with_unloadable_auth_does_not_start(code: str | None, said: str, tmp_path: Path) -> None:
    if code is not None:
        (tmp_path / "auth.py").write_text(code)
    handlers, settings = configured(tmp_path, "./auth.py:auth"), settings_of(tmp_path)
    with pytest.raises(UnsupportedConfiguration, match=r"auth\.path: ") as refused:
        load_auth(settings, handlers)
    assert said in str(refused.value)
    with pytest.raises(UnsupportedConfiguration):
        async with Application(settings, handlers).running():
            pass
    assert not (tmp_path / "data").exists()


def test_auth_langgraph_without_configured_handlers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedConfiguration, match="there are none"):
        load_auth(settings_of(tmp_path, auth="langgraph"), configured(tmp_path))
