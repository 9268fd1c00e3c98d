"""What a command that needs settings or graphs was asked for: from flags to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runstead.settings import CONFIG_FILE, Settings, SettingsError, load_settings

from .output import USAGE, CommandError

if TYPE_CHECKING:
    from runstead.graphs.configuration import GraphConfiguration


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What was asked for on the command line. ``targets`` are graphs to serve without a langgraph.json."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    assigned: Sequence[str] = ()
    settings_file: Path | None = None
    targets: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What this command sets where nobody else does."""

    @classmethod
    def for_storage(
        cls,
        config: Path | None,
        data_dir: Path | None,
        settings_file: Path | None,
        assigned: Sequence[str] | None = None,
    ) -> Self:
        """Return the request of a command that needs the storage of a server, and no server."""
        flags = {"config": config, "data_dir": data_dir}
        return cls(flags=flags, assigned=tuple(assigned or ()), settings_file=settings_file)

    def settings(self) -> Settings:
        """Flags, file and environment together."""
        settings = self._given()
        unset = {name: value for name, value in self.defaults.items() if name not in settings.model_fields_set}
        return settings.model_copy(update=unset)

    def _given(self) -> Settings:
        assigned = dict(_assignment(text) for text in self.assigned)
        config = self.flags.get("config")
        try:
            return load_settings(
                {**assigned, **{name: value for name, value in self.flags.items() if value is not None}},
                file=self.settings_file,
                project=Path(config).resolve().parent if config else None,
            )
        except SettingsError as error:
            raise CommandError(str(error), exit_code=USAGE) from error

    def configuration(self, settings: Settings) -> GraphConfiguration:
        """The graphs to serve, not yet imported."""
        from runstead.graphs.configuration import ConfigurationError, configuration_of, read_configuration
        from runstead.graphs.sources import SourceError

        if self.targets and self.flags.get("config"):
            raise CommandError("graphs were named, and a --config too; give one of the two", exit_code=USAGE)
        try:
            if self.targets:
                return configuration_of(self.targets, Path.cwd())
            return read_configuration(settings.config or Path.cwd() / CONFIG_FILE)
        except (ConfigurationError, SourceError) as error:
            raise CommandError(str(error), exit_code=USAGE) from error

    def arguments(self) -> list[str]:
        """The same request for a process of its own."""
        arguments = list(self.targets)
        for name, value in self.flags.items():
            option = f"--{name.replace('_', '-')}"
            if value is True:
                arguments.append(option)
            elif value is not None:
                arguments += [option, str(value)]
        for text in self.assigned:
            arguments += ["--set", text]
        return arguments + (["--settings", str(self.settings_file)] if self.settings_file else [])


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set {text}: write it as NAME=VALUE, such as max_attempts=5", exit_code=USAGE)
    return name.strip(), value
