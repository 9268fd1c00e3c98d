"""Crons are listed, paused, resumed and deleted from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx

from .processes import Background, Done


def test_crons_from_the_command_line(
    background: Callable[..., Background], invoke: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    serve = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--json")
    url = background(*serve, cwd=project).wait_for("started")["url"]
    assert invoke("crons", "ls", "--url", url).out == "no crons\n"
    body = {"assistant_id": "talker", "schedule": "0 9 * * *", "timezone": "Europe/Paris"}
    cron_id = httpx.post(f"{url}/runs/crons", json=body).json()["cron_id"]
    assert "0 9 * * *" in invoke("crons", "ls", "--url", url).out
    assert "paused" in invoke("crons", "pause", cron_id, "--url", url).out
    (cron,) = invoke("crons", "ls", "--url", url, "--json").of("cron")
    assert (cron["cron_id"], cron["enabled"]) == (cron_id, False)
    assert "is due at" in invoke("crons", "resume", cron_id, "--url", url).out
    assert "deleted" in invoke("crons", "rm", cron_id, "--url", url).out
    missing = invoke("crons", "rm", cron_id, "--url", url)
    assert (missing.exit_code, "not found" in missing.err) == (1, True)
