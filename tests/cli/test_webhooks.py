"""Deliveries are listed, shown and retried from the command line."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from .processes import Background, Done


class Hook(BaseHTTPRequestHandler):
    status = 204

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_deliveries_from_the_command_line(
    background: Callable[..., Background], invoke: Callable[..., Done], project: Path, tmp_path: Path, hook: str
) -> None:
    data = ("--data-dir", str(tmp_path / "data"), "--set", "webhook_allow_loopback=true")
    url = background("serve", "--port", "0", *data, "--json", cwd=project).wait_for("started")["url"]
    assert invoke("webhooks", "ls", "--url", url).out == "no deliveries\n"
    said = {"messages": [{"role": "user", "content": "hi"}]}
    httpx.post(f"{url}/runs/wait", json={"assistant_id": "talker", "input": said, "webhook": hook}, timeout=30)
    (delivery,) = invoke("webhooks", "ls", "--url", url, "--json").of("delivery")
    shown = invoke("webhooks", "show", delivery["delivery_id"], "--url", url)
    assert hook in shown.out
    assert delivery["run_id"] in invoke("webhooks", "ls", "--run", delivery["run_id"], "--url", url).out
    assert "Sending it again" in invoke("webhooks", "redeliver", delivery["delivery_id"], "--url", url).out
    missing = invoke("webhooks", "show", delivery["run_id"], "--url", url)
    assert (missing.exit_code, "not found" in missing.err) == (1, True)
