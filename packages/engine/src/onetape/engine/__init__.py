"""Fill rules, accounting and metrics, the same for backtest and paper.

Its names are those of `exports.py` and `step_exports.py`, loaded when they are first used: `--help`
needs only the account's settings and loads no NumPy, and a backtest loads no stepper.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onetape.engine.exports import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
    from onetape.engine.step_exports import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    plain = import_module("onetape.engine.exports")
    if hasattr(plain, name):
        return getattr(plain, name)
    return getattr(import_module("onetape.engine.step_exports"), name)
