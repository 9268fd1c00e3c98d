"""Settings of the address, authentication, access, adapters of your own, and the place of data."""

import ipaddress
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

OIDC_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""All asymmetric: with a shared secret, or with `none`, clients could make tokens."""


def is_https_or_loopback(url: str) -> bool:
    """Return whether ``url`` is reached over https, or is on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme != "http":
        return parts.scheme == "https" and bool(host)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class AccessSettings(BaseModel):
    """Settings of the section "Address, access and data"."""

    host: str = Field(default="127.0.0.1", description="Address to listen on. Loopback by default.")
    port: int = Field(default=2024, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    allow_unauthenticated: bool = Field(
        default=False,
        description="Allow an address that other machines can reach without authentication.",
    )
    auth: Literal["none", "keys", "oidc", "langgraph", "custom"] | None = Field(
        default=None,
        description="Authentication mode: `none`, `keys` (API keys of `runstead keys`), `oidc` (tokens of the issuer "
        "`oidc_issuer`), `langgraph` (handlers from langgraph.json), or `custom` (your own `authenticator`). Unset: "
        "`custom` with `authenticator`, `oidc` with `oidc_issuer`, `langgraph` if there are handlers, else `none`.",
    )
    oidc_issuer: str | None = Field(
        default=None,
        description="OIDC issuer whose access tokens are accepted (URL, exactly as in the claim `iss`). Its discovery "
        "document names the signing keys.",
    )
    oidc_audience: tuple[str, ...] = Field(
        default=(),
        description='Audiences, one of which `aud` must contain (a JSON list such as `["runstead"]`). '
        "Required with oidc_issuer.",
    )
    oidc_algorithms: tuple[str, ...] = Field(
        default=("RS256", "ES256"),
        description="Accepted signature algorithms (a JSON list), of RS256/384/512, PS256/384/512, ES256/384/512, "
        "EdDSA and Ed25519.",
    )
    oidc_jwks_url: str | None = Field(
        default=None,
        description="Address of the issuer's signing keys (URL). Unset: the one in its discovery document.",
    )
    oidc_jwks_seconds: float = Field(
        default=600,
        gt=0,
        description="Age at which signing keys are fetched again (seconds). An unknown key id fetches them at once.",
    )
    oidc_leeway_seconds: int = Field(
        default=30, ge=0, le=600, description="Tolerated difference between the clocks of issuer and server (seconds)."
    )
    oidc_user_claim: str = Field(default="sub", min_length=1, description="Claim that is the user's id (path).")
    oidc_tenant_claim: str | None = Field(
        default=None,
        min_length=1,
        description="Claim that is the user's tenant (path such as `organization.id`). Unset: all users are in one "
        "tenant.",
    )
    oidc_scope_claims: tuple[str, ...] = Field(
        default=("scope",),
        description='Claims that hold scopes (a JSON list of paths such as `["scope", "realm_access.roles"]`).',
    )
    console_oidc_client_id: str | None = Field(
        default=None,
        min_length=1,
        description="Client of `oidc_issuer` as which the console logs users in: public, with the authorization code "
        "flow, PKCE, and the console's address (`https://agents.example.org/console/`) as redirect URI. Unset: the "
        "console asks for an access token.",
    )
    console_oidc_scope: str = Field(
        default="openid", description="Scopes that the console asks the issuer for (separated by spaces)."
    )
    authenticator: str | None = Field(
        default=None,
        description="Your own authenticator (`module:object` or `./file.py:object`): an object with `authenticate`, or "
        "a function or class that returns one.",
    )
    observers: tuple[str, ...] = Field(
        default=(),
        description="Further observers of runs (a JSON list of `module:object`).",
    )
    event_store: str | None = Field(
        default=None, description="Your own event store (`module:object`), instead of the one of `run_events`."
    )
    bridge: str | None = Field(default=None, description="Your own stream bridge (`module:object`).")
    checkpointer: str | None = Field(default=None, description="Your own checkpoint store (`module:object`).")
    dispatcher: str | None = Field(
        default=None, description="Factory of your own dispatcher of runs (`module:object`)."
    )
    allowed_hosts: tuple[str, ...] | None = Field(
        default=None,
        description="Further host names that a server without authentication answers to (a JSON list such as "
        '`["chat.example.org"]`, or `["*.example.org"]`). Unset: only names of this machine, or any name '
        "with allow_unauthenticated.",
    )
    allowed_origins: tuple[str, ...] | None = Field(
        default=None,
        description="Web pages that may call the server (a JSON list of origins such as "
        '`["https://smith.langchain.com"]`), in addition to http.cors of langgraph.json. Unset: pages of '
        "this machine, or all with authentication.",
    )
    console: bool = Field(
        default=True,
        description="Serve the console at `/console`, and send browsers there from `/`. Its pages contain no data: "
        "users log in.",
    )
    auth_stored_fields: tuple[str, ...] | None = Field(
        default=None,
        description="Fields of a user from the `authenticate` handler that may be stored with runs and crons, beside "
        'identity, display name and permissions (a JSON list such as `["org"]`). Others reach runs that the accepting '
        "process itself executes before a restart. Unset: all; with runs until they have ended.",
    )
    access_check_seconds: float = Field(
        default=5,
        gt=0,
        description="How often the caller of an open stream or WebSocket is authenticated again (seconds). When access "
        "has ended, it is closed.",
    )
    shared_assistants_scope: str | None = Field(
        default=None,
        description="Scope or permission required to change default assistants. Unset: changes are refused, except on "
        "a server without authentication.",
    )
    config: Path | None = Field(
        default=None, description="The langgraph.json to serve (path). Unset: the one in the working directory."
    )
    data_dir: Path = Field(
        default=Path(),
        description="Directory for runs, threads, checkpoints and events (path). "
        "Unset: one per project in the user's data directory, never the working directory.",
    )

    @property
    def is_loopback(self) -> bool:
        """True if the server can be reached only from this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """URL of the server for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def check_authentication(self) -> None:
        """Raise ValueError for a mode of authentication that lacks a setting."""
        if self.auth == "oidc" and self.oidc_issuer is None:
            raise ValueError("auth is oidc, and oidc_issuer is not set")
        if self.auth == "custom" and self.authenticator is None:
            raise ValueError("auth is custom, and authenticator is not set; name yours as module:object")
        if self.oidc_issuer is not None and not self.oidc_audience:
            # Without one, a token that the issuer made for any other application would be accepted.
            raise ValueError('oidc_issuer is set and oidc_audience is not; name the audience, such as ["runstead"]')
        if unknown := [name for name in self.oidc_algorithms if name not in OIDC_ALGORITHMS]:
            raise ValueError(
                f"oidc_algorithms: {', '.join(unknown)} cannot be accepted; use some of {', '.join(OIDC_ALGORITHMS)}"
            )
        if self.console_oidc_client_id is not None and self.oidc_issuer is None:
            raise ValueError("console_oidc_client_id is set and oidc_issuer is not; name the issuer of the client")
        for name in ("oidc_issuer", "oidc_jwks_url"):
            url = getattr(self, name)
            if url is not None and not is_https_or_loopback(url):
                raise ValueError(f"{name}: it must be an https address (http is accepted on this machine only)")
