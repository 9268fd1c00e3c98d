"""A run that lost its last attempt is found and retried from the command line."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from .processes import Background, Done


def test_dead_letter_is_listed_and_retried(
    background: Callable[..., Background], invoke: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    serve = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--set", "max_attempts=1", "--json")
    first = background(*serve, cwd=project)
    url = first.wait_for("started")["url"]
    thread = httpx.post(f"{url}/threads", json={}).json()["thread_id"]
    said = {"messages": [{"role": "user", "content": "hi"}]}
    body = {"assistant_id": "talker", "input": said, "stream_mode": "messages-tuple"}
    run = httpx.post(f"{url}/threads/{thread}/runs", json=body).json()["run_id"]
    while httpx.get(f"{url}/runs/{run}").json()["status"] == "pending":
        time.sleep(0.02)
    first.end(signal.SIGKILL)

    second = background(*serve, cwd=project)
    url = second.wait_for("started")["url"]
    watched = invoke("watch", run, "--url", url)
    assert watched.exit_code == 1
    (dead,) = invoke("runs", "ls", "--dead", "--url", url, "--json").of("run")
    assert (dead["run_id"], dead["status"], dead["dead_letter"]) == (run, "error", True)
    assert "dead letter" in invoke("runs", "ls", "--url", url).out

    assert f"runstead watch {run}" in invoke("runs", "retry", run, "--url", url).out
    again = invoke("watch", run, "--url", url, "--json")
    assert (again.exit_code, again.of("ended")[0]["status"]) == (0, "success")
    assert invoke("runs", "ls", "--dead", "--url", url).out == "no runs\n"
