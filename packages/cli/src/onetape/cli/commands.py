"""A Typer group that imports the module of a command only when the command runs or is listed.

Importing the modules of all commands would take longer than a short command runs.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class Command(NamedTuple):
    """A command of a program, as the names of the module and function that run it."""

    module: str
    """Module that defines the command, imported when it runs."""
    function: str
    """Function of the module that runs the command."""
    passes_unknown_flags: bool = False
    """Whether unknown flags are passed to the function in `context.args` instead of refused."""
    is_group: bool = False
    """Whether `function` names a Typer app that has commands."""

    def load(self) -> Callable[..., Any]:
        """Import the module and return the function."""
        return getattr(importlib.import_module(self.module), self.function)


def make_lazy_command_group(commands: Mapping[str, Command]) -> type[TyperGroup]:
    """Return a group for `typer.Typer(cls=...)` that builds each command when the command is used.

    Args:
        commands: The commands by name, in the order of the help.
    """

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:
            given: dict[str, Any] = {**options, "commands": _LazyCommands(commands)}
            super().__init__(**given)

    return Group


class _LazyCommands(dict[str, Any]):
    """Commands of a group by name: `get` builds a command once, iteration yields the names."""

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name, default)
        if isinstance(found, Command):
            found = self[name] = _build_click_command(name, found)
        return found

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self.get(name)


def _build_click_command(name: str, command: Command) -> Any:
    if command.is_group:
        group: Any = command.load()
        return typer.main.get_command(group)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    alone.command(name, context_settings=settings if command.passes_unknown_flags else None)(
        command.load()
    )
    return typer.main.get_command(alone)
