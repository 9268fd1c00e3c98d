"""A configuration that asks for protection which is not there is refused, not served as if it had not asked."""

from __future__ import annotations

from runstead.graphs.configuration import GraphConfiguration
from runstead.settings import Settings


class UnsupportedConfiguration(Exception):
    """A part of the configuration that this version would have to break in silence."""


def refuse_what_cannot_be_kept(configuration: GraphConfiguration, settings: Settings) -> None:
    """Raises UnsupportedConfiguration."""
    place = configuration.file or configuration.directory
    if configuration.auth and configuration.auth.path and not settings.allow_unauthenticated:
        raise UnsupportedConfiguration(
            f"{place}: auth: {configuration.auth.path} would not be asked, for this version cannot authenticate; "
            "remove the key, or set allow_unauthenticated to serve without it"
        )
    if configuration.encryption:
        raise UnsupportedConfiguration(
            f"{place}: encryption: this version cannot encrypt what it stores; remove the key to store it in the clear"
        )
