"""The support bundle has what finding a fault needs, and none of the secrets of a server that is full of them."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.storage_report import StorageReport, report_of_files
from runstead.cli.output import CommandError, Output
from runstead.cli.request import ServeRequest
from runstead.cli.secrets_removal import SecretsRemoval
from runstead.cli.stored_data_checks import findings_of, size_text
from runstead.cli.support_bundle import make_bundle
from runstead.infra.storage.queue_figures import QueueFigures
from runstead.infra.storage.sizes import DatabaseSize

from .conftest import application_of, execute

CANARIES = {
    "password": "canary-pg-7Q9x",
    "redis": "canary-redis-2Kd8",
    "webhook": "whsec_" + base64.b64encode(b"canary-webhook-secret-31").decode(),
    "encryption": base64.b64encode(b"canary-encryption-key-of-32-byte").decode(),
    "openai": "sk-canary-openai-5512abcdef",
    "env_of_file": "canary-in-langgraph-env-71",
    "header": "canary-webhook-header-90",
    "bearer": "canary.bearer.token-6613",
    "cookie": "canary-cookie-4401",
    "url": "canary-url-pass-8822",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", CANARIES["openai"])
    monkeypatch.setenv("MY_DATABASE", f"mysql://app:{CANARIES['url']}@db/x")
    (tmp_path / "agent.py").write_text(
        "from langgraph.graph import START, StateGraph\n"
        "graph = StateGraph(dict).add_node('a', lambda state: state).add_edge(START, 'a').compile()\n"
    )
    configuration = {
        "graphs": {"agent": "./agent.py:graph"},
        "env": {"MODEL_PROVIDER": CANARIES["env_of_file"]},
        "webhooks": {"headers": {"x-hook": CANARIES["header"]}},
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(configuration))
    (tmp_path / "runstead.toml").write_text(
        f'webhook_secrets = "{CANARIES["webhook"]}"\nencryption_keys = "{CANARIES["encryption"]}"\nport = 1\n'
        f'data_dir = "data"\nmax_attempts = 7\n'
    )
    (tmp_path / "server.log").write_text(
        "an ordinary line about run-17\n"
        f"could not connect to postgresql://runstead:{CANARIES['password']}@db/app\n"
        f"redis://:{CANARIES['redis']}@cache is away\n"
        f'{{"authorization": "Bearer {CANARIES["bearer"]}", "cookie": "{CANARIES["cookie"]}"}}\n'
        f"Authorization: Bearer {CANARIES['bearer']}\n"
        f"the provider refused {CANARIES['openai']} and {CANARIES['env_of_file']}\n"
        f"key {CANARIES['encryption']} header {CANARIES['header']} hook {CANARIES['webhook']}\n"
        f"cannot open mysql://app:{CANARIES['url']}@db/x\n"
    )
    return tmp_path


def bundle_of(project: Path) -> dict[str, str]:
    make_bundle(ServeRequest(), Output(as_json=True), file=project / "bundle.zip", log=project / "server.log")
    with zipfile.ZipFile(project / "bundle.zip") as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_no_secret_is_in_the_bundle(project: Path) -> None:
    files = bundle_of(project)
    whole = "\n".join(files.values())
    assert {name: value for name, value in CANARIES.items() if value in whole} == {}
    assert "canary" not in whole


def test_what_finding_a_fault_needs_is_in_the_bundle(project: Path) -> None:
    files = bundle_of(project)
    assert set(files) == {
        "about.json",
        "settings.json",
        "environment.json",
        "langgraph.json",
        "doctor.json",
        "metrics.txt",
        "log.txt",
    }
    assert "langgraph" in json.loads(files["about.json"])["packages"]
    settings = json.loads(files["settings.json"])
    assert (settings["max_attempts"], settings["webhook_secrets"]) == (7, "(removed)")
    assert "OPENAI_API_KEY" in json.loads(files["environment.json"])
    assert json.loads(files["langgraph.json"])["graphs"] == {"agent": "./agent.py:graph"}
    assert {"python", "sqlite", "port"} <= {finding["subject"] for finding in json.loads(files["doctor.json"])}
    assert "an ordinary line about run-17" in files["log.txt"]
    assert "no server answers" in files["metrics.txt"]
    assert (project / "bundle.zip").stat().st_mode & 0o077 == 0


def test_existing_file_is_not_overwritten(project: Path) -> None:
    (project / "bundle.zip").write_text("mine")
    with pytest.raises(CommandError, match="exists"):
        bundle_of(project)


def test_missing_log_is_named(project: Path) -> None:
    (project / "server.log").unlink()
    with pytest.raises(CommandError, match=r"server\.log cannot be read"):
        bundle_of(project)


@pytest.mark.parametrize("text", ["took 12 s", "run 01a231ca-206a-75d2-b24d-4ff1c841b000 ended", "tokens: 12"])
def test_ordinary_text_stays(text: str) -> None:
    assert SecretsRemoval(["abc"]).text(text) == text


def test_words_that_are_no_secrets_stay_although_a_variable_has_them() -> None:
    assert SecretsRemoval(["true", "None", "abc"]).text("is_on=true abc None") == "is_on=true abc None"


def test_values_under_secret_names_are_removed_at_any_depth() -> None:
    value: Any = {"a": [{"api_key": "x" * 9, "n": 3}], "max_tokens": 5}
    assert SecretsRemoval([]).value(value) == {"a": [{"api_key": "(removed)", "n": 3}], "max_tokens": 5}


async def test_doctor_reads_backlog_and_sizes_beside_a_running_server(tmp_path: Path) -> None:
    application = application_of(tmp_path / "data")
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        await execute(http, "works")
        later = {"assistant_id": "agent", "input": {"kind": "works"}, "after_seconds": 3600}
        await http.post("/runs", json=later)
        report = report_of_files(tmp_path / "data")
    assert report is not None
    assert (report.runs, report.queue.delayed, report.queue.due) == (2, 1, 0)
    findings = {finding.subject: finding for finding in findings_of(report)}
    assert findings["backlog"].detail == "0 runs execute, 0 wait, 1 are delayed"
    assert findings["dead letters"].state == "ok"
    assert "a day, by the runs of the last day" in findings["size"].detail


def test_doctor_of_an_empty_directory_says_nothing(tmp_path: Path) -> None:
    assert report_of_files(tmp_path) is None
    (tmp_path / "runstead.db").write_bytes(b"this is no database" * 99)
    assert report_of_files(tmp_path) is None


def test_doctor_warns_of_what_an_operator_has_to_act_on() -> None:
    queue = QueueFigures(
        due=5,
        claimable=5,
        oldest_claimable=90,
        expired_leases=2,
        dead_letters=3,
        webhooks_owed=4,
        webhooks_overdue=700,
        crons=1,
        cron_lateness=300,
    )
    report = StorageReport(queue, 10, 5, {"runs": DatabaseSize(1_000_000)}, workers=0)
    findings = {finding.subject: finding for finding in findings_of(report)}
    warned = {subject for subject, finding in findings.items() if finding.state == "warning"}
    assert warned == {"backlog", "workers", "leases", "dead letters", "crons", "webhooks"}
    assert all(findings[subject].remedy for subject in warned)
    assert findings["size"].detail == "runs 1 MB; about 500 KB a day, by the runs of the last day"


def test_sizes_have_a_unit() -> None:
    assert [size_text(size) for size in (0, 999, 12_345, 5e6, 7e12)] == ["0 B", "999 B", "12 KB", "5 MB", "7.0 TB"]
