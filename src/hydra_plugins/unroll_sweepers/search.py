"""A search by Optuna, as a sweep that can be stopped and gone on with."""

from importlib.util import find_spec
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Search(Sweeper):
    """Optuna chooses the values. The settings are checked where they are read: see unroll.sweeps.settings."""

    def __init__(self, **_: Any) -> None:
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands over."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> None:
        """Go on to the total number of trials, then show the best and the leaderboard. Exits with 1 on failures."""
        from unroll.errors import ConfigError
        from unroll.sweeps.session import Session

        if find_spec("optuna") is None:
            raise ConfigError("hydra/sweeper=optuna needs: pip install -c constraints.txt -e '.[optuna]'")
        from unroll.sweeps.search import Search as Trials
        from unroll.sweeps.settings import Settings
        from unroll.sweeps.space import Space, parse

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        settings = Settings.read(self.config.hydra.sweeper)
        words = parse(settings.params, arguments, self.hydra_context.config_loader)
        space = Space.read(words)
        settings.check(space)
        session = Session(self.config, self.hydra_context, self.launcher, words)
        with session.told():
            Trials(session, settings, space).run()
        session.close()
