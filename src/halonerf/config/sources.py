"""Where Hydra finds the configs: `conf/`, and beside it `experiments/`, whose YAML files are the group `experiments`.

The folder that holds both is not on Hydra's search path, for every other folder in it would become a group: in a
checkout with an `artifacts/` folder, `artifacts=DIR` would be refused. A source of configs that knows nothing but the
experiments is put there instead.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

GROUP = "experiments"


def config_root() -> Path:
    """Folder that holds `conf/` and `experiments/`: the installed package, or the checkout."""
    package = Path(__file__).parents[1]
    return package if (package / "conf").is_dir() else package.parents[1]


def register_experiments() -> None:
    """Put the group `experiments` on the search path of every config composed from now on in this process."""
    for plugin in (ExperimentSource, ExperimentSearchPath):
        Plugins.instance().register(plugin)


class ExperimentSource(ConfigSource):
    """The YAML files of one folder as the config group `experiments`.

    Args: as Hydra gives them.
        path: `experiments://FOLDER`.
    """

    @staticmethod
    def scheme() -> str:
        """Hydra's name for sources of this kind."""
        return "experiments"

    def load_config(self, config_path: str) -> ConfigResult:
        """One experiment, by `experiments/NAME`.

        Raises: ConfigLoadError where there is none of that name.
        """
        file = self._file(config_path)
        if file is None:
            names = ", ".join(self.list(GROUP, None))
            raise ConfigLoadError(f"expected experiments/NAME, one of {names} in {self.path}, got '{config_path}'")
        text = file.read_text(encoding="utf-8")
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=OmegaConf.create(text),
            header=self._get_header_dict(text),
        )

    def is_group(self, config_path: str) -> bool:
        """Whether that is the root or the group itself: there are no others here."""
        return config_path.strip("/") in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        """Whether that is an experiment with a YAML file."""
        return self._file(config_path) is not None

    def available(self) -> bool:
        """Whether the folder is there."""
        return Path(self.path).is_dir()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names in the root or in the group, sorted; only groups or only configs where `results_filter` says so."""
        place = config_path.strip("/")
        if place == "" and results_filter != ObjectType.CONFIG:
            return [GROUP]
        if place == GROUP and results_filter != ObjectType.GROUP:
            return sorted(self._files())
        return []

    def _files(self) -> dict[str, Path]:
        """Experiments' files by their names."""
        return {file.stem: file for file in Path(self.path).glob("*.yaml")}

    def _file(self, config_path: str) -> Path | None:
        """The file that a config's path stands for, `experiments/NAME` with or without its ending."""
        group, _, name = config_path.strip("/").removesuffix(".yaml").partition("/")
        return self._files().get(name) if group == GROUP else None


class ExperimentSearchPath(SearchPathPlugin):
    """Appends the folder of experiments to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes a config."""
        search_path.append("halonerf", f"{ExperimentSource.scheme()}://{config_root() / GROUP}")
