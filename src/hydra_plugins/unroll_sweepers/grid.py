"""Every combination of the values on the command line, as a sweep that can be stopped and gone on with."""

from collections.abc import Mapping
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class Grid(BasicSweeper):
    """Hydra's own sweeper reads the values; what is done already is found, and no failure stops the others.

    Args:
        params: values by key, as on the command line, which has the last word.
        unknown: keys of a search.
    """

    def __init__(self, params: dict[str, str] | None = None, **unknown: object) -> None:
        super().__init__(None, dict(params) if isinstance(params, Mapping) else {})
        if params and not self.params:
            unknown["params"] = params
        self.unknown = unknown

    def sweep(self, arguments: list[str]) -> Any:
        """Do what is missing, then show the leaderboard. Exits with 1 where a job failed."""
        from unroll.errors import ConfigError
        from unroll.sweeps.session import Session

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        if not all(isinstance(values, str | int | float | bool | None) for values in self.params.values()):
            key = next(key for key, values in self.params.items() if not isinstance(values, str | int | float | bool))
            raise ConfigError(f'hydra.sweeper.params.{key}: write its values as on the command line, such as "8,16,32"')
        if self.unknown:
            raise ConfigError(
                f"hydra.sweeper.{next(iter(self.unknown))}: every combination has no such key; for a search, add "
                "hydra/sweeper=optuna to the command line (a file of conf/sweep cannot choose the sweeper)"
            )
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for word in overrides:
            if word.is_sweep_override() and not word.is_discrete_sweep():
                raise ConfigError(
                    f"{word.input_line}: every combination needs values, such as 8,16,32 or range(8,33,8); for a "
                    "search of an interval add hydra/sweeper=optuna"
                )
        session = Session(self.config, self.hydra_context, self.launcher, overrides)
        (lines,) = self.split_arguments(overrides, None)
        with session.told():
            session.work(session.plan(lines))
        session.close()
