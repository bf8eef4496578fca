"""Loading a strategy by its name or from a user's file, with its parameters.

Three ways to name one: `rsi` (built in), `mine` (user/strategies/mine.py) and
`path/to/file.py:Class`. A user's file runs only when it is named.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from onetape.core.errors import ConfigurationError, OnetapeError, UsageError, name_settings
from onetape.core.message_text import format_os_error, suggest_name
from onetape.strategies.interface import Strategy
from onetape.strategies.output_capture import stdout_to_stderr
from onetape.strategies.parameters import convert_parameters

if TYPE_CHECKING:
    from onetape.strategies.freqtrade.stated_settings import StatedSettings

#: Module and class of each strategy that comes with Onetape.
BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "bollinger": ("onetape.strategies.bollinger", "Bollinger"),
    "buy_and_hold": ("onetape.strategies.buy_and_hold", "BuyAndHold"),
    "donchian": ("onetape.strategies.donchian", "Donchian"),
    "ema_cross": ("onetape.strategies.ema_cross", "EmaCross"),
    "macd": ("onetape.strategies.macd", "MacdCross"),
    "rsi": ("onetape.strategies.rsi", "Rsi"),
    "sma_cross": ("onetape.strategies.sma_cross", "SmaCross"),
}
#: Largest lookback of a strategy, candles; a trader fetches them before it begins.
MAX_LOOKBACK: Final = 100_000
#: Longest name of a strategy, in characters; file names of reports contain it.
LONGEST_NAME: Final = 60
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"


def list_strategy_names(user_folder: Path | None = None) -> tuple[str, ...]:
    """Return the names that `load_strategy` takes: built in, and the files of the user."""
    user_files = _list_strategy_files(user_folder)
    return (*BUILT_IN, *(name for name in user_files if name not in BUILT_IN))


def load_strategy(
    name: str, parameters: Mapping[str, object] | None = None, user_folder: Path | None = None
) -> Strategy:
    """Return the strategy of that name with these parameters.

    Args:
        name: `rsi`, the name of a file in user_folder/strategies, or `path/to/file.py:Class`.
        parameters: Values by name; text is converted to the declared type. Others keep defaults.
        user_folder: The user's folder, which holds `strategies`; None: built in and paths only.

    Raises:
        UsageError: no such strategy or parameter, or a value that it does not allow.
        ConfigurationError: the user's file cannot be run or holds no usable strategy.
    """
    cls = load_strategy_class(name, user_folder)
    values = convert_parameters(cls, parameters or {})
    try:
        with stdout_to_stderr():
            strategy = cls(**values)
    except OnetapeError:
        raise
    except (Exception, SystemExit) as error:
        raise _make_strategy_error(cls, "could not be made", error) from error
    get_lookback(strategy)
    return strategy


def check_choice(
    name: str, parameters: Mapping[str, object] | None, user_folder: Path | None = None
) -> None:
    """Refuse an invalid strategy or parameters without running a user's file.

    Args:
        name: See `load_strategy`.
        parameters: Parameters of the strategy; None: not used.
        user_folder: See `load_strategy`.

    Raises:
        UsageError: there is no such strategy, or a built-in one does not take the parameters.
    """
    is_own = name.rpartition(":")[0].endswith(".py") or name.endswith(".py")
    if is_own or (name not in BUILT_IN and name in _list_strategy_files(user_folder)):
        return
    with name_settings("strategy.name"):
        cls = load_strategy_class(name, user_folder)
    if parameters is not None:
        cls(**convert_parameters(cls, parameters))


def get_lookback(strategy: Strategy) -> int:
    """Return the lookback of a strategy, a number of candles.

    Raises:
        ConfigurationError: the strategy's code raised an error or returned no valid number.
    """
    return _get_checked_number(strategy, "lookback")


def get_higher_lookback(strategy: Strategy) -> int:
    """Return the lookback of a strategy in candles of each higher timeframe.

    Raises:
        ConfigurationError: as `get_lookback`.
    """
    return _get_checked_number(strategy, "higher_lookback")


def _get_checked_number(strategy: Strategy, name: str) -> int:
    """Return a property of a strategy, such as its lookback, checked."""
    try:
        with stdout_to_stderr():
            number: Any = getattr(strategy, name)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise _make_strategy_error(type(strategy), f"could not state its {name}", error) from error
    if type(number) is not int or not 0 <= number <= MAX_LOOKBACK:
        shown = str(number)[:40] if not isinstance(number, int) else "another"
        raise ConfigurationError(
            f"strategy {strategy.name}: {name} must be a whole number from 0 to "
            f"{MAX_LOOKBACK:,}, found {shown}; fix it in the strategy's file"
        )
    return number


def _make_strategy_error(
    cls: type[Strategy], failure: str, error: BaseException
) -> ConfigurationError:
    return ConfigurationError(
        f"strategy {cls.name} {failure} ({type(error).__name__}: {error}); fix it in its file"
    )


def load_strategy_class(name: str, user_folder: Path | None = None) -> type[Strategy]:
    """Return the class of a strategy; arguments and errors as in `load_strategy`."""
    path_text, colon, class_name = name.rpartition(":")
    if colon and path_text.endswith(".py"):
        return _load_class_from_file(Path(path_text), class_name)
    if name.endswith(".py"):
        return _load_class_from_file(Path(name), None)
    user_files = _list_strategy_files(user_folder)
    if name in BUILT_IN and name in user_files:
        raise UsageError(
            f"strategy {name!r} is built in and also {user_files[name]}; rename the file, "
            "or give its path"
        )
    if name in BUILT_IN:
        module_name, built_in_class = BUILT_IN[name]
        return getattr(importlib.import_module(module_name), built_in_class)
    if name in user_files:
        return _load_class_from_file(user_files[name], None)
    known = list_strategy_names(user_folder)
    raise UsageError(
        f"strategy {name!r} does not exist{suggest_name(name, known)} (there are: "
        f"{', '.join(known)}; or path/to/file.py:Class)"
    )


def find_strategy_file(name: str, user_folder: Path | None = None) -> Path | None:
    """Return the user's file that a strategy is loaded from; None: it is built in, or not known.

    Args:
        name: See `load_strategy`.
        user_folder: See `load_strategy`.
    """
    path_text, colon, _ = name.rpartition(":")
    if colon and path_text.endswith(".py"):
        return Path(path_text)
    return Path(name) if name.endswith(".py") else _list_strategy_files(user_folder).get(name)


def compute_strategy_file_digest(name: str, user_folder: Path | None = None) -> str:
    """Return the SHA-256, in hex, of the user's file that a strategy is loaded from.

    The file is read, not run. The result is empty for a built-in strategy, and where the file
    cannot be read: loading the strategy raises an error that names the fault of its file. Files
    that the strategy imports are not part of the digest.

    Args:
        name: See `load_strategy`.
        user_folder: See `load_strategy`.
    """
    import hashlib

    file = find_strategy_file(name, user_folder)
    try:
        return "" if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def has_other_strategies(name: str, user_folder: Path | None = None) -> bool:
    """Return whether the file of a strategy holds others too, so that the class must be named.

    Args:
        name: As in `load_strategy`; the strategy can be loaded.
        user_folder: As in `load_strategy`.

    Raises:
        ConfigurationError: the file cannot be run.
    """
    path_text, colon, _ = name.rpartition(":")
    if not (colon and path_text.endswith(".py")):
        return False
    try:
        load_strategy_class(path_text, user_folder)
    except UsageError:
        return True
    return False


def compute_strategy_digest(strategy: Strategy) -> str:
    """Return the SHA-256, in hex, of the source that decides a strategy's signals.

    The source is the strategy's file as it was loaded, with its imports from the same folder, and
    all code of `onetape.strategies`. Other installed code is not part of the digest.
    """
    # Imported here, because a plain backtest computes no digest and should start fast.
    import hashlib

    from onetape.core.digest import compute_code_digest
    from onetape.strategies.user_modules import collect_sources

    total = hashlib.sha256()
    module = importlib.import_module(type(strategy).__module__)
    function = getattr(type(strategy), "function", None)
    if function is not None:
        from onetape.strategies.functions import digest_function

        total.update(digest_function(function).encode())
    if function is None or getattr(module, "__file__", None):
        for text in collect_sources(module):
            total.update(text)
            total.update(b"\0")
    total.update(compute_code_digest(Path(__file__).parent).encode())
    return total.hexdigest()


def _list_strategy_files(user_folder: Path | None) -> dict[str, Path]:
    if user_folder is None:
        return {}
    files = sorted((user_folder / "strategies").glob("*.py"))
    return {file.stem: file for file in files if _is_strategy_name(file.stem)}


def _is_strategy_name(stem: str) -> bool:
    """Return whether the name of a file is that of a strategy, and not that of a test."""
    return bool(re.fullmatch(_NAME, stem)) and not stem.startswith("test_") and stem != "conftest"


def _load_class_from_file(path: Path, class_name: str | None) -> type[Strategy]:
    """Return the strategy class of a user's file."""
    from onetape.strategies.user_modules import run_file

    try:
        is_file = path.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise UsageError(
            f"strategy file {path}: {format_os_error(error)}; name a .py file"
        ) from error
    if not is_file:
        raise UsageError(f"strategy file {path} does not exist; give the path of a .py file")
    foreign = _load_freqtrade_class(path, class_name)
    if foreign is not None:
        return foreign
    module = run_file(path)
    found = _collect_strategy_classes(module)
    function = (
        None
        if class_name in found
        else _find_strategy_function(module, class_name, path.stem, found)
    )
    if function is not None:
        # Imported here, because the import takes a millisecond and most strategies are classes.
        from onetape.strategies.functions import make_function_class

        return make_function_class(function)
    names = ", ".join(sorted(found)) or "none"
    if class_name is not None:
        if class_name not in found:
            hint = suggest_name(class_name, found)
            raise UsageError(
                f"{path} has no strategy class {class_name!r}{hint} (it has: {names}); "
                "a strategy is a class that derives from onetape.strategies.Strategy, "
                "or a function of a DataFrame"
            )
        return _check_class(path, found[class_name])
    if len(found) != 1:
        raise UsageError(
            f"{path} must hold one strategy to be used without a class name (it has: {names}); "
            f"name one: {path}:Class"
        )
    return _check_class(path, next(iter(found.values())))


def _load_freqtrade_class(path: Path, class_name: str | None) -> type[Strategy] | None:
    """Return a file's freqtrade strategy as a Onetape strategy; None where the file has none."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"strategy file {path}: {format_os_error(error)}; make it readable"
        ) from error
    if b"IStrategy" not in text:
        return None
    from onetape.strategies.freqtrade.source import find_freqtrade_class

    found = find_freqtrade_class(path, text, class_name)
    if found is None:
        return None
    # Imported here, because it loads pandas, which other strategies may not need.
    from onetape.strategies.freqtrade.adapter import load_class

    return load_class(found)


def read_stated_settings(name: str, user_folder: Path | None = None) -> "StatedSettings | None":
    """Return the settings that a freqtrade strategy file states; None for other strategies.

    Nothing of the file runs.

    Args:
        name: See `load_strategy`.
        user_folder: See `load_strategy`.

    Raises:
        UsageError: the file does not hold the class.
        ConfigurationError: a value of the file cannot be used.
    """
    if name in BUILT_IN:
        return None
    path = find_strategy_file(name, user_folder)
    if path is None:
        return None
    from onetape.strategies.freqtrade.stated_settings import read_settings_of_file

    class_name = None if name.endswith(".py") else name.rpartition(":")[2]
    return read_settings_of_file(path, class_name if ":" in name else None)


def read_stated_settings_of_class(cls: type[Strategy]) -> "StatedSettings | None":
    """Return the settings in the file of a freqtrade strategy class; None for other classes.

    Raises:
        ConfigurationError: a value of the file cannot be used.
    """
    # Recognised by two attributes, because importing the class itself would load pandas.
    is_foreign = hasattr(cls, "user_class") and hasattr(cls, "candle_timeframe")
    return getattr(cls, "read_stated_settings")() if is_foreign else None  # noqa: B009


def _find_strategy_function(
    module: ModuleType, name: str | None, stem: str, classes: Mapping[str, type[Strategy]]
) -> FunctionType | None:
    """Return the strategy function of a file, or None where a class is meant.

    Args:
        module: The loaded file.
        name: Name of the function; None: the one called like the file, or the only one.
        stem: Name of the file without `.py`.
        classes: Strategy classes of the file, which take precedence where no name is given.
    """
    functions = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }
    if name is not None:
        return functions.get(name)
    if classes:
        return None
    public = [value for key, value in functions.items() if not key.startswith("_")]
    return functions.get(stem) or (public[0] if len(public) == 1 else None)


def _collect_strategy_classes(module: ModuleType) -> dict[str, type[Strategy]]:
    classes = (
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__
    )
    return {cls.__name__: cls for cls in classes if issubclass(cls, Strategy)}


def _check_class(path: Path, cls: type[Strategy]) -> type[Strategy]:
    """Return the class, or raise an error if it does not have the interface's form."""
    where = f"strategy class {cls.__name__} in {path}"
    if "__dataclass_fields__" not in vars(cls):
        raise ConfigurationError(f"{where}: write @dataclass(frozen=True) above the class")
    name: Any = getattr(cls, "name", "")
    if not isinstance(name, str) or not re.fullmatch(_NAME, name) or len(name) > LONGEST_NAME:
        raise ConfigurationError(
            f'{where}: write name: ClassVar[str] = "{path.stem[:LONGEST_NAME]}" into it '
            f"(letters, digits and _, {LONGEST_NAME} at most)"
        )
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise ConfigurationError(f"{where}: it must define {missing}")
    return cls
