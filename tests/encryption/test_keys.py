"""Keys come from settings, files and LANGGRAPH_AES_KEY; an invalid one gives a one-line error; commands rotate them."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from typer.testing import CliRunner

from runstead.bootstrap.application import Application
from runstead.bootstrap.encryption import load_cipher
from runstead.cli.main import app
from runstead.infra.encryption.keyring import Keyring, key_id_of_key
from runstead.resources.storage_errors import StorageUnusable
from runstead.settings import SettingsError, load_settings
from tests.servers.sqlite import current_data

from .test_canaries import CONFIG, leaks, served

OLD, NEW = b"o" * 32, b"n" * 32


def text_of(*keys: bytes) -> str:
    return " ".join(base64.b64encode(key).decode() for key in keys)


def cipher_of(tmp_path: Path, environ: dict[str, str] | None = None, **settings: Any) -> Any:
    return load_cipher(load_settings({"data_dir": tmp_path, **settings}, project=tmp_path), environ or {})


def test_without_a_key_nothing_is_imported(tmp_path: Path) -> None:
    assert cipher_of(tmp_path) is None
    script = (
        "import sys\nimport runstead.bootstrap.application\nimport runstead.bootstrap.assembly\n"
        "wanted = ('cryptography', 'runstead.infra.encryption.keyring')\n"
        "print([name for name in sys.modules if name.startswith(wanted)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_keys_of_the_settings_override_the_reference_server_key(tmp_path: Path) -> None:
    environ = {"LANGGRAPH_AES_KEY": "l" * 24, "LANGGRAPH_AES_JSON_KEYS": "a, b,"}
    theirs = cipher_of(tmp_path, environ)
    assert (theirs.key_id, theirs.json_keys) == (key_id_of_key(b"l" * 24), {"a", "b", "title"})
    both = cipher_of(tmp_path, environ, encryption_keys=text_of(NEW, OLD), encryption_json_keys=["c"])
    assert both.key_id == key_id_of_key(NEW)
    assert both.key_ids == {key_id_of_key(key) for key in (NEW, OLD, b"l" * 24)}
    assert both.json_keys == {"a", "b", "c", "title"}


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the new one\n{text_of(NEW)}\n{text_of(OLD)}  # until March\n")
    found = cipher_of(tmp_path, encryption_keys_file=file)
    assert (found.key_id, len(found.key_ids)) == (key_id_of_key(NEW), 2)


@pytest.mark.parametrize(
    ("settings", "environ", "said"),
    [
        ({"encryption_keys": "c2VjcmV0"}, {}, "one of them has 6; make one with"),
        ({"encryption_keys": "not base64!"}, {}, "a key is base64, and one of them is not"),
        ({"encryption_keys_file": "gone"}, {}, "cannot be read"),
        ({}, {"LANGGRAPH_AES_KEY": "short"}, "LANGGRAPH_AES_KEY has 16, 24 or 32 characters"),
        ({"encryption_json_keys": ["a"]}, {}, "there is no key"),
        ({}, {"LANGGRAPH_AES_JSON_KEYS": "a"}, "there is no key"),
        ({"encryption_json_keys": ["graph_id"], "encryption_keys": text_of(NEW)}, {}, "names graph_id"),
    ],
)
def test_invalid_key_is_named_but_not_printed(
    settings: dict[str, Any], environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageUnusable, match=said) as refused:
        cipher_of(tmp_path, environ, **settings)
    assert "c2VjcmV0" not in str(refused.value)
    assert "not base64!" not in str(refused.value)


def test_keys_in_two_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both set"):
        cipher_of(tmp_path, encryption_keys=text_of(NEW), encryption_keys_file=tmp_path / "keys")


async def used(data: Path, keys: str | None) -> None:
    async with served(data, encryption_keys=keys, encryption_json_keys=[]) as url:
        client = get_client(url=url)
        thread = await client.threads.create()
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "canary-01-"})
        assert "canary-01-" in str(await client.threads.search(limit=100))


async def started(data: Path, keys: str | None) -> None:
    async with Application.from_file(CONFIG, data_dir=data, encryption_keys=keys).running():
        pass


async def test_server_without_the_key_of_its_data_does_not_start(tmp_path: Path) -> None:
    await used(tmp_path, text_of(OLD))
    for keys in (None, text_of(NEW)):
        with pytest.raises(StorageUnusable, match=key_id_of_key(OLD)):
            await started(tmp_path, keys)
    await used(tmp_path, text_of(NEW, OLD))


def run(data: Path, keys: str, *command: str) -> list[dict[str, Any]]:
    """Output lines of an encryption command."""
    words = ["encryption", *command, "--json", "--config", str(CONFIG), "--data-dir", str(data)]
    result = CliRunner().invoke(app, [*words, "--set", f"encryption_keys={keys}"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_rewrite_rotates_the_key_so_that_the_old_one_can_be_removed(tmp_path: Path) -> None:
    asyncio.run(used(tmp_path, None))
    assert leaks(tmp_path)
    [status] = run(tmp_path, text_of(OLD), "status")
    assert status["plain"]["checkpoints"] > 0
    rewritten = run(tmp_path, text_of(OLD), "rewrite")[-2]
    assert (rewritten["event"], rewritten["forgotten"]) == ("rewritten", [])
    assert leaks(tmp_path) == {}
    asyncio.run(used(tmp_path, text_of(NEW, OLD)))
    rewritten, status = run(tmp_path, text_of(NEW, OLD), "rewrite")[-2:]
    assert rewritten["forgotten"] == [key_id_of_key(OLD)]
    assert status["plain"] == {}
    asyncio.run(used(tmp_path, text_of(NEW)))
    with pytest.raises(StorageUnusable, match=key_id_of_key(NEW)):
        asyncio.run(started(tmp_path, text_of(OLD)))


def refused(data: Path, *words: str) -> str:
    """Error output of a failing encryption command."""
    result = CliRunner().invoke(app, ["encryption", *words, "--config", str(CONFIG), "--data-dir", str(data)])
    assert result.exit_code == 1, result.output
    return result.output.replace("\n", " ")


def test_status_and_rewrite_name_the_key_that_is_missing(tmp_path: Path) -> None:
    data = current_data(tmp_path / "data")
    # Nothing is encrypted yet: a new key is the remedy.
    for command in ("status", "rewrite"):
        assert "runstead encryption new-key" in refused(data, command)
    asyncio.run(used(data, text_of(OLD)))
    for command in ("status", "rewrite"):
        for keys in ([], ["--set", f"encryption_keys={text_of(NEW)}"]):
            said = refused(data, command, *keys)
            assert f"encrypted with the key {key_id_of_key(OLD)}" in said
            assert "Add the missing key to encryption_keys" in said
            assert "new-key" not in said
    assert f"{key_id_of_key(OLD)}  " in refused(data, "status", "--set", f"encryption_keys={text_of(NEW)}")


def test_backup_names_its_key_and_a_restore_says_that_it_is_missing(tmp_path: Path) -> None:
    data, file = current_data(tmp_path / "data"), tmp_path / "backup.zip"
    asyncio.run(used(data, text_of(OLD)))

    def run_with(command: str, folder: Path, *words: str) -> dict[str, Any]:
        words = (command, str(file), "--json", "--config", str(CONFIG), "--data-dir", str(folder), *words)
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        last: dict[str, Any] = json.loads(result.output.splitlines()[-1])
        return last

    assert run_with("backup", data)["keys"] == [key_id_of_key(OLD)]
    for number, keys in enumerate([None, NEW, OLD]):
        folder = tmp_path / str(number)
        given = [] if keys is None else ["--set", f"encryption_keys={text_of(keys)}"]
        said = run_with("restore", folder, *given)
        assert said["keys"] == [key_id_of_key(OLD)]
        assert (said["problem"] is None) == (keys == OLD)
        assert keys == OLD or key_id_of_key(OLD) in said["problem"]
    asyncio.run(used(tmp_path / "2", text_of(OLD)))
    file.unlink()
    plain = current_data(tmp_path / "plain")
    assert (run_with("backup", plain)["keys"], run_with("restore", tmp_path / "3")["problem"]) == ([], None)


def test_generated_key_encrypts() -> None:
    keys = [json.loads(CliRunner().invoke(app, ["encryption", "new-key", "--json"]).output)["key"] for _ in range(2)]
    assert keys[0] != keys[1]
    assert Keyring([base64.b64decode(keys[0])]).encrypt(b"x", "p")
