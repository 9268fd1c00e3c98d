"""An OIDC issuer in this process, shaped like a realm of Keycloak: discovery, a key set, tokens, and logins with PKCE.

Its user is always logged in: the authorization endpoint sends browsers back at once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

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
    """``issuer`` is its address. ``requests`` are the paths that were asked for; ``is_down``: it answers 503.

    ``logins`` are those whose code has not been exchanged, by the code.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}{_REALM}"
        self.keys: list[Key] = []
        self.requests: list[str] = []
        self.is_down = False
        self.logins: dict[str, dict[str, str]] = {}
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
        certs, connect = f"{_REALM}/protocol/openid-connect/certs", f"{self.issuer}/protocol/openid-connect"
        return {
            f"{_REALM}/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": self.issuer.removesuffix(_REALM) + certs,
                "authorization_endpoint": f"{connect}/auth",
                "token_endpoint": f"{connect}/token",
            },
            certs: {"keys": [key.as_dict(private=False) for key in self.keys]},
        }.get(path)

    def authorize(self, query: str) -> str:
        """Return the address to which a browser is sent back with a code."""
        asked = dict(parse_qsl(query))
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = secrets.token_urlsafe()
        self.logins[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    def exchange(self, body: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer to a request for a token: once for each code, for its verifier alone."""
        given = dict(parse_qsl(body))
        login = self.logins.pop(given.get("code", ""), None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        same = ("client_id", "redirect_uri")
        if login is None or login["code_challenge"] != challenge or any(login[name] != given[name] for name in same):
            return 400, {"error": "invalid_grant", "error_description": "Code not valid"}
        return 200, {"access_token": self.token(datetime.now(UTC)), "token_type": "Bearer", "expires_in": 300}


@contextmanager
def running_issuer() -> Iterator[FakeIssuer]:
    """An issuer on a free port of this machine, for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            parts = urlsplit(self.path)
            if parts.path == f"{_REALM}/protocol/openid-connect/auth":
                self.send_response(302)
                self.send_header("location", issuer.authorize(parts.query))
                self.end_headers()
                return
            found = None if issuer.is_down else issuer.document(self.path)
            self._answer(503 if issuer.is_down else 404 if found is None else 200, found)

        def do_POST(self) -> None:
            issuer.requests.append(self.path)
            self._answer(*issuer.exchange(self.rfile.read(int(self.headers["content-length"])).decode()))

        def _answer(self, status: int, found: Any) -> None:
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("access-control-allow-origin", "*")
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
