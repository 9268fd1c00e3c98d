"""An S3-compatible server on loopback: moto's, in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

_NAMES: Final = itertools.count(1)
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


REQUESTS: Final[list[tuple[str, str]]] = []
"""Method and path of each request to a server of this process; a list of a bucket has the method ``LIST``."""

ENCRYPTIONS: Final[dict[str, str]] = {}
"""Encryption that the latest request for a path asked the server for."""


def _recorded(app: Any) -> Any:
    def call(environ: Any, start: Any) -> Any:
        is_list = environ["REQUEST_METHOD"] == "GET" and "list-type" in environ.get("QUERY_STRING", "")
        REQUESTS.append(("LIST" if is_list else environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if (encryption := environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION")) is not None:
            ENCRYPTIONS[environ["PATH_INFO"]] = encryption
        return app(environ, start)

    return call


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve buckets for the duration of a block; yield the URL."""
    from moto.server import ThreadedMotoServer

    server: Any = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    server._server.app = _recorded(server._server.app)
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def new_bucket(url: str) -> str:
    """Create a bucket, and return its name."""
    name = f"bucket-{next(_NAMES)}"
    # The first request loads the whole server.
    assert httpx.put(f"{url}/{name}", timeout=120).status_code == 200
    return name


def store_in(url: str) -> Callable[[], Any]:
    """Return a function that opens a store in a new bucket."""

    def opened() -> Any:
        from obstore.store import S3Store

        return S3Store(
            new_bucket(url),
            prefix="some prefix",
            endpoint=url,
            access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region=CREDENTIALS["AWS_REGION"],
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    return opened
