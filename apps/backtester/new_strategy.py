"""Writing of a new strategy of the user and its test from templates; no file is overwritten."""

import re
from keyword import iskeyword
from pathlib import Path
from typing import Final

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import format_os_error
from onetape.strategies.registry import BUILT_IN, LONGEST_NAME

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
#: Names that a strategy file cannot have, because it would hide a file of pytest or a package.
_RESERVED_NAMES: Final = ("conftest", "numpy", "onetape")
_TEMPLATES: Final = Path(__file__).parent / "templates"
#: Name of the templates, which is also the placeholder for the name in them.
_NAME_IN_TEMPLATE, _CLASS_IN_TEMPLATE = "my_strategy", "MyStrategy"
_COMMANDS_IN_TEMPLATE: Final = "NEXT_COMMANDS"


class NewStrategyFiles(Struct, frozen=True):
    """Paths of a new strategy and of its test."""

    file: Path
    """File of the strategy."""
    test: Path
    """File of its test."""


def list_next_commands(name: str) -> dict[str, str]:
    """Return the next commands for a new strategy, by purpose."""
    traded = "--from 2024-01-15 --to 2024-07-01"
    return {
        "candles": "uv run backfiller --from 2024-01-01 --to 2024-07-01",
        "test it": "uv run pytest user/strategies",
        "check it": f"uv run backtester check --strategy {name} {traded}",
        "run it": f"uv run backtester --strategy {name} {traded}",
    }


def write_new_strategy(name: str, user_folder: Path) -> NewStrategyFiles:
    """Write `strategies/NAME.py` and its test into the user's folder.

    Args:
        name: Name of the strategy: lower case, digits and underscores.
        user_folder: The user's folder; `strategies` in it is made where it is missing.

    Raises:
        UsageError: the name cannot be one, is built in, or one of the files is there already.
        ConfigurationError: the folder cannot be written.
    """
    check_new_name(name)
    folder = user_folder / "strategies"
    written = NewStrategyFiles(folder / f"{name}.py", folder / f"test_{name}.py")
    for path in (written.file, written.test):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists and is not overwritten; choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in (
            (written.file, "my_strategy.py.txt"),
            (written.test, "test_my_strategy.py.txt"),
        ):
            # Mode "x" fails if another process has created the file meanwhile.
            with path.open("x", encoding="utf-8") as file:
                file.write(_fill_template(template, name))
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be written: {format_os_error(error)}; "
            "run this in a folder of your own"
        ) from error
    return written


def check_new_name(name: str) -> None:
    """Refuse a text that cannot be the name of a new strategy.

    Raises:
        UsageError: the text has the reason.
    """
    usable = _NAME.fullmatch(name) and len(name) <= LONGEST_NAME and not iskeyword(name)
    if not usable or name.startswith("test_"):
        raise UsageError(
            f"{name[:80]!r} is not a valid name for a strategy; "
            "use lower case, digits and _, begin with a letter (not with test_), "
            f"{LONGEST_NAME} characters at most, such as my_trend"
        )
    if name in _RESERVED_NAMES:
        raise UsageError(
            f"strategy {name!r} would be taken for another file of that name; choose another one, "
            f"such as my_{name}"
        )
    if name in BUILT_IN:
        raise UsageError(f"strategy {name!r} is built in; choose another name, such as my_{name}")


def make_class_name(name: str) -> str:
    """Return the class of a strategy's name: `my_trend` gives `MyTrend`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _fill_template(template: str, name: str) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    text = text.replace(_CLASS_IN_TEMPLATE, make_class_name(name)).replace(_NAME_IN_TEMPLATE, name)
    return text.replace(_COMMANDS_IN_TEMPLATE, "\n".join(list_next_commands(name).values()))
