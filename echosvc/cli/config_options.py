"""The options of a configuration file, and the reading of that file and of the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from echosvc.config.kinds import Flag, Word
from echosvc.config.settings import Setting
from echosvc.config.sources import Given, ListenTable, SourceError, from_environment, from_file
from echosvc.config.toml_file import MAX_SIZE, ConfigFile, ConfigFileError
from echosvc.net.files import describe_file_error

CONFIG = Setting(
    name="config",
    default=None,
    kind=Word("FILE"),
    text="Configuration file, in TOML. Its keys are the names of the options; options of the"
    " command line, and variables `ECHOSVC_...` of the environment, go before it.",
    none="none",
)
CHECK_CONFIG = Setting(
    name="check_config",
    default=False,
    kind=Flag(),
    text="Check file, environment and options, say what would run, and exit.",
)
PRINT_CONFIG = Setting(
    name="print_config",
    default=False,
    kind=Flag(),
    text="Write all settings as a configuration file to standard output, and exit.",
)
CONFIG_OPTIONS = (CONFIG, CHECK_CONFIG, PRINT_CONFIG)


class Sources:
    """What the environment and a configuration file give.

    :param variables: the environment.
    :param settings: what both may set, besides the listeners.
    :param of_listener: what a file may set for one listener.
    :param listen: the setting of listeners.
    :param elsewhere: names that only another command line sets, and what to write there.
    :ivar given: the settings by name; the environment goes before the file.
    :ivar listeners: the listeners; empty = none is given.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        settings: Sequence[Setting],
        of_listener: Sequence[Setting],
        listen: Setting,
        elsewhere: Mapping[str, str],
    ) -> None:
        self._variables = variables
        self._settings = settings
        self._of_listener = of_listener
        self._listen = listen
        self._elsewhere = elsewhere
        self.given: dict[str, Given] = {}
        self.listeners: list[ListenTable] = []

    def read(self, file_option: str | None) -> str | None:
        """Read both; return the name of the file, or ``None``: there is none.

        :param file_option: the file that the command line names; else the environment may name one.
        :raises SourceError: the file, or a variable, has a wrong name or value.
        :raises ConfigFileError: the file is no TOML, or cannot be read.
        """
        variables = (CONFIG, self._listen, *self._settings)
        of_environment = from_environment(self._variables, variables, self._elsewhere)
        named = of_environment.pop(CONFIG.name, None)
        name = file_option if file_option is not None else named.value if named else None
        if name is not None:
            file = self._read_file(name, file_option is not None)
            self.given, self.listeners = from_file(
                file, self._settings, self._of_listener, self._elsewhere
            )
        listen = of_environment.pop(self._listen.name, None)
        if listen is not None and listen.value:
            self.listeners = [ListenTable(each, listen.origin, {}) for each in listen.value]
        self.given |= of_environment
        return name

    @staticmethod
    def _read_file(name: str, by_option: bool) -> ConfigFile:
        origin = f"--{CONFIG.option}" if by_option else CONFIG.variable
        try:
            with open(name, "rb") as file:
                return ConfigFile(name, file.read(MAX_SIZE + 1))
        except OSError as error:
            error.filename = name
            raise SourceError(f"{origin}: {describe_file_error(error)}") from None
        except ValueError as error:
            if isinstance(error, ConfigFileError):
                raise
            raise SourceError(f"{origin}: {name!r} is no name of a file") from None
