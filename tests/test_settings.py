"""Settings: their sources, precedence, and errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import runstead.settings
from runstead.settings import Settings, SettingsError, default_data_dir, load_settings, unknown_variables


@pytest.fixture(autouse=True)
def _a_clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RUNSTEAD_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_flags_override_the_file_and_the_file_overrides_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PORT": "1001", "MAX_ATTEMPTS": "11", "LOG_LEVEL": "error"}.items():
        monkeypatch.setenv(f"RUNSTEAD_{name}", value)
    (tmp_path / "runstead.toml").write_text('port = 2002\nmax_attempts = 22\nhost = "127.0.0.2"\n')

    settings = load_settings({"port": 3003, "host": None}, project=tmp_path)

    assert (settings.port, settings.max_attempts, settings.log_level) == (3003, 22, "error")
    assert settings.host == "127.0.0.2", "a flag that was not given hides nothing"


def test_lists_and_objects_are_json_in_flags() -> None:
    given = {"queues": '["fast", "slow"]', "graph_queues": '{"agent": "fast"}', "host": "[::1]"}
    settings = load_settings(given)
    assert (settings.queues, settings.graph_queues, settings.host) == (("fast", "slow"), {"agent": "fast"}, "[::1]")
    with pytest.raises(SettingsError, match="flag --queues: is not JSON"):
        load_settings({"queues": "[fast]"})


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "runstead.toml").write_bytes("port = 2002\n".encode("utf-8-sig"))
    assert load_settings({}, project=tmp_path).port == 2002


def test_default_host_is_loopback() -> None:
    assert load_settings().is_loopback
    assert load_settings({"host": "localhost"}).is_loopback
    assert load_settings({"host": "::1"}).is_loopback
    assert not load_settings({"host": "0.0.0.0"}).is_loopback
    assert not load_settings({"host": "example.org"}).is_loopback


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:2024"),
        ("0.0.0.0", "http://127.0.0.1:2024"),
        ("::", "http://[::1]:2024"),
        ("box", "http://box:2024"),
    ],
)
def test_url_is_reachable_for_a_local_client(host: str, url: str) -> None:
    assert load_settings({"host": host}).url == url


def test_default_data_directory_is_not_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir.is_absolute()
    assert not settings.data_dir.is_relative_to(tmp_path)


def test_every_project_has_a_data_directory_of_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "shop", tmp_path / "b" / "shop"
    env = {"XDG_DATA_HOME": "/data", "LOCALAPPDATA": "/local"}

    assert default_data_dir(first, env, "linux") != default_data_dir(second, env, "linux")
    assert default_data_dir(first, env, "linux") == default_data_dir(first, env, "linux")
    assert re.fullmatch(r"/data/runstead/shop-[0-9a-f]{8}", str(default_data_dir(first, env, "linux")))
    assert default_data_dir(first, {}, "linux").is_relative_to(Path.home() / ".local" / "share" / "runstead")
    assert default_data_dir(first, env, "win32").is_relative_to("/local/runstead")
    assert default_data_dir(first, env, "darwin").is_relative_to(Path.home() / "Library" / "Application Support")
    assert default_data_dir(Path("/"), env, "linux").name.startswith("project-")


def test_project_of_a_configuration_elsewhere_is_its_directory(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    assert load_settings({"config": place / "langgraph.json"}).data_dir == default_data_dir(place.resolve())


def test_relative_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "mine.toml"
    file.write_text('data_dir = "./data"\nconfig = "../langgraph.json"\n')

    settings = load_settings({"config": None}, file=file)

    assert settings.data_dir == tmp_path / "conf" / "data"
    assert settings.config == tmp_path / "langgraph.json"
    assert load_settings({"data_dir": "here"}, file=file).data_dir == tmp_path / "here"


@pytest.mark.parametrize(
    ("flags", "toml", "env", "said"),
    [
        ({"port": 99999}, "", {}, "flag --port: "),
        ({}, "port = 99999", {}, "runstead.toml: port: "),
        ({}, "", {"RUNSTEAD_PORT": "many"}, "environment variable RUNSTEAD_PORT: "),
        ({}, "prot = 1", {}, "runstead.toml: prot: there is no such setting; did you mean port?"),
        ({}, "port = ", {}, "cannot be read as TOML"),
        ({}, 'lease_term_seconds = "soon"', {}, "must be a number, got 'soon'"),
    ],
)
def test_bad_setting_is_refused_with_its_source(
    flags: dict[str, object],
    toml: str,
    env: dict[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "runstead.toml").write_text(toml)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=re.escape(said)):
        load_settings(flags)


def test_settings_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such settings file"):
        load_settings(file=tmp_path / "nowhere.toml")


def test_misspelt_variables_are_found() -> None:
    assert unknown_variables({"RUNSTEAD_PROT": "1", "RUNSTEAD_PORT": "1", "HOME": "/"}) == ["RUNSTEAD_PROT"]


def test_every_setting_has_a_description_and_unit() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        unit = next((unit for unit in ("seconds", "bytes") if name.endswith(unit)), None)
        assert unit is None or unit in field.description.lower(), name


def test_every_setting_is_read_by_the_code() -> None:
    own = Path(runstead.settings.__file__).parent
    files = [file for file in own.parent.rglob("*.py") if own not in file.parents]
    read = {
        node.attr
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("settings")
    }
    assert set(Settings.model_fields) - read == set()


CLUSTER = {"database_url": "postgresql://me:secret@db/runstead", "redis_url": "redis://cache:6379"}


def test_cluster_needs_both_servers() -> None:
    assert load_settings(CLUSTER).is_cluster
    assert not load_settings().is_cluster
    for name in CLUSTER:
        with pytest.raises(SettingsError, match=r"is set and \w+ is not: a cluster needs both"):
            load_settings({name: CLUSTER[name]})


def test_server_that_executes_nothing_needs_others_that_do() -> None:
    assert load_settings({**CLUSTER, "max_concurrent_runs": 0}).max_concurrent_runs == 0
    with pytest.raises(SettingsError, match="max_concurrent_runs is 0"):
        load_settings({"max_concurrent_runs": 0})


def test_cluster_with_events_in_files_is_refused() -> None:
    assert load_settings({"run_events": "jsonl"}).run_events == "jsonl"
    with pytest.raises(SettingsError, match="run_events is jsonl"):
        load_settings({**CLUSTER, "run_events": "jsonl"})


@pytest.mark.parametrize(
    ("name", "url"), [("database_url", "mysql://me:secret@db"), ("redis_url", "http://me:secret@c")]
)
def test_url_of_another_scheme_is_refused_without_its_password(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: it must begin with one of") as refused:
        load_settings({**CLUSTER, name: url})
    assert "me:secret" not in str(refused.value)
    assert "me:secret" not in repr(load_settings(CLUSTER))


@pytest.mark.parametrize(("name", "meaning"), [("thread", "run"), ("server", "shared"), ("run", "run")])
def test_former_names_of_isolation_still_work(name: str, meaning: str) -> None:
    assert load_settings({"agent_isolation": name}).agent_isolation == meaning


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("queues", ("",), "1 to 128 printable characters"),
        ("queues", ("fast", " "), "1 to 128 printable characters"),
        ("queues", ("q" * 129,), "1 to 128 printable characters"),
        ("queues", ("a\0b",), "1 to 128 printable characters"),
        ("queues", (), "leave it out to execute runs of all queues"),
        ("graph_queues", {"agent": ""}, "1 to 128 printable characters"),
        ("graph_priorities", {"agent": 2**31}, "a priority is a number from"),
    ],
)
def test_invalid_queue_name_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings({name: value})
    assert load_settings({"queues": ("fast", "r\u00e9sum\u00e9s")}).queues == ("fast", "r\u00e9sum\u00e9s")
