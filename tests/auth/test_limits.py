"""Limits of users as clients see them: 429 with retry-after, and other users are served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from runstead.bootstrap.server import serving

from .test_identity import application_of

ACME, UMBRELLA = {"authorization": "Bearer acme"}, {"authorization": "Bearer umbrella"}


def limited(folder: Path, **settings: Any) -> Any:
    return application_of(folder, authenticator="./identity_graphs.py:OwnAuthenticator", **settings)


def check_refused(response: httpx.Response, what: str) -> None:
    assert (response.status_code, what in response.json()["detail"]) == (429, True), response.text
    assert int(response.headers["retry-after"]) >= 1


async def test_too_many_requests_are_refused_until_the_window_has_passed(tmp_path: Path) -> None:
    async with (
        serving(limited(tmp_path, limit_user_requests="3/hour")) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        for _ in range(3):
            assert (await http.post("/threads/search", json={}, headers=ACME)).status_code == 200
        check_refused(await http.post("/threads/search", json={}, headers=ACME), "3 requests in 3600 s")
        assert (await http.get("/ok", headers=ACME)).status_code == 200
        assert (await http.post("/threads/search", json={}, headers=UMBRELLA)).status_code == 200


async def test_runs_streams_and_intervals_of_crons_are_limited(tmp_path: Path) -> None:
    settings = {"limit_user_runs": 1, "limit_user_streams": 1, "cron_min_interval_seconds": 300}
    async with (
        serving(limited(tmp_path, **settings)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        thread = (await http.post("/threads", json={}, headers=ACME)).json()["thread_id"]
        later = {"assistant_id": "who", "after_seconds": 3600}
        assert (await http.post("/runs", json=later, headers=ACME)).status_code == 200
        check_refused(await http.post("/runs", json=later, headers=ACME), "1 runs in flight")
        assert (await http.post("/runs", json=later, headers=UMBRELLA)).status_code == 200
        async with http.stream("GET", f"/threads/{thread}/stream", headers=ACME) as first:
            assert first.status_code == 200
            check_refused(await http.get(f"/threads/{thread}/stream", headers=ACME), "1 open streams")
        cron = {"assistant_id": "who", "schedule": "*/4 * * * *"}
        response = await http.post("/runs/crons", json=cron, headers=ACME)
        assert (response.status_code, "300 s" in response.json()["detail"]) == (422, True)
        response = await http.post("/runs/crons", json={**cron, "schedule": "*/5 * * * *"}, headers=ACME)
        assert response.status_code == 200
        changed = await http.patch(
            f"/runs/crons/{response.json()['cron_id']}", json={"schedule": "* * * * *"}, headers=ACME
        )
        assert changed.status_code == 422
