"""Fill rules, accounting and metrics, the same for backtest and paper.

The names of `onetape.engine.exports` and `step_exports`, loaded at their first use: a program that
needs only an account's settings, as `--help` does, loads no NumPy, and a backtest loads no stepper.
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
