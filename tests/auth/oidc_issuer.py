"""An OIDC issuer in this process, shaped like a realm of Keycloak: discovery, a key set, and tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

AUDIENCE = "runstead"
_REALM = "/realms/demo"
_LAX = JWSRegistry(
    {"x": HeaderParameter("An unknown header", "int")}, algorithms=["ES256", "RS256"], strict_check_header=False
)
"""For tokens that must be refused."""


class FakeIssuer:
    """``issuer`` is its address. ``requests`` are the paths that were asked for; ``is_down``: it answers 503."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}{_REALM}"
        self.keys: list[Key] = []
        self.requests: list[str] = []
        self.is_down = False
        self.rotate()

    def rotate(self, kind: str = "EC") -> Key:
        """Replace all keys by a new one."""
        number = len(self.requests) + len(self.keys)
        parameters: Any = {
            "kid": f"key-{kind}-{id(self)}-{number}",
            "use": "sig",
            "alg": "ES256" if kind == "EC" else "RS256",
        }
        key: Key = ECKey.generate_key("P-256", parameters) if kind == "EC" else RSAKey.generate_key(2048, parameters)
        self.keys = [key]
        return key

    def token(
        self, now: datetime, *, key: Key | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """Return an access token, valid for five minutes; a claim that is None is left out."""
        key = key or self.keys[0]
        seconds = int(now.timestamp())
        all_claims = {
            "iss": self.issuer,
            "aud": [AUDIENCE, "account"],
            "sub": "alice",
            "iat": seconds,
            "exp": seconds + 300,
            "org": "acme",
            "scope": "openid profile",
            **claims,
        }
        kept = {name: value for name, value in all_claims.items() if value is not None}
        whole: dict[str, Any] = {"alg": key.get("alg"), "kid": key.kid, **(header or {})}
        whole = {name: value for name, value in whole.items() if value is not None}
        token: str = jwt.encode(whole, kept, key, registry=_LAX)
        return token

    def document(self, path: str) -> Any:
        """Return what the issuer answers; None for what it does not know."""
        certs = f"{_REALM}/protocol/openid-connect/certs"
        return {
            f"{_REALM}/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": self.issuer.removesuffix(_REALM) + certs,
            },
            certs: {"keys": [key.as_dict(private=False) for key in self.keys]},
        }.get(path)


@contextmanager
def running_issuer() -> Iterator[FakeIssuer]:
    """An issuer on a free port of this machine, for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            found = None if issuer.is_down else issuer.document(self.path)
            body = json.dumps(found).encode()
            self.send_response(503 if issuer.is_down else 404 if found is None else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = FakeIssuer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
