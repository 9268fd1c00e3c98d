"""Options of a command, from which its settings and graphs are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runstead.runtime.json_types import JsonMapping
from runstead.settings import CONFIG_FILE, Settings, SettingsError, load_settings

from .output import USAGE, CommandError

if TYPE_CHECKING:
    from runstead.graphs.configuration import GraphConfiguration


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """Options of the command line. ``targets`` are graphs to serve without a langgraph.json."""

    flags: JsonMapping = field(default_factory=dict)
    assigned: Sequence[str] = ()
    settings_file: Path | None = None
    targets: Sequence[str] = ()
    defaults: JsonMapping = field(default_factory=dict)
    """Defaults of this command for settings that are not set elsewhere."""

    @classmethod
    def for_graphs(
        cls,
        flags: JsonMapping,
        targets: Sequence[str] | None,
        settings_file: Path | None,
        assigned: Sequence[str] | None,
        *,
        defaults: JsonMapping | None = None,
    ) -> Self:
        """Return the request of a command that serves or loads graphs."""
        return cls(flags, tuple(assigned or ()), settings_file, tuple(targets or ()), defaults or {})

    @classmethod
    def for_storage(
        cls,
        config: Path | None,
        data_dir: Path | None,
        settings_file: Path | None,
        assigned: Sequence[str] | None = None,
    ) -> Self:
        """Return the request of a command that uses the storage of a server without the server."""
        flags = {"config": config, "data_dir": data_dir}
        return cls(flags=flags, assigned=tuple(assigned or ()), settings_file=settings_file)

    def settings(self) -> Settings:
        """Return the settings from flags, file and environment together."""
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
        """Return the graphs to serve, not yet imported."""
        from runstead.graphs.configuration import ConfigurationError, configuration_of, read_configuration
        from runstead.graphs.sources import SourceError

        if self.targets and self.flags.get("config"):
            raise CommandError("both graphs and a --config were given; give one of the two", exit_code=USAGE)
        try:
            if self.targets:
                return configuration_of(self.targets, Path.cwd())
            return read_configuration(settings.config or Path.cwd() / CONFIG_FILE)
        except (ConfigurationError, SourceError) as error:
            raise CommandError(str(error), exit_code=USAGE) from error

    def arguments(self) -> list[str]:
        """Return the same request as arguments for a child process."""
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
