"""The backtester's Typer application: the backtest itself, and its subcommands."""

from functools import wraps
from typing import Any, Final, NoReturn

import typer

from backtester.backtest_command import run_command
from backtester.flags import take_flags
from onetape.cli.commands import Command, make_lazy_command_group
from onetape.cli.program import refuse_flags_before, run_app

_COMMANDS: Final = {
    "list": Command("backtester.commands.list", "list_runs"),
    "show": Command("backtester.commands.show", "show_run"),
    "compare": Command("backtester.commands.compare", "compare_runs"),
    "explain": Command("backtester.commands.explain", "explain_moment", passes_unknown_flags=True),
    "optimize": Command("backtester.commands.optimize", "optimize", passes_unknown_flags=True),
    "cluster": Command("backtester.commands.cluster", "app", is_group=True),
    "check": Command("backtester.commands.check", "check", passes_unknown_flags=True),
    "costs": Command("backtester.commands.costs", "print_costs"),
    "new-strategy": Command("backtester.commands.new_strategy", "new_strategy"),
}

app = typer.Typer(
    cls=make_lazy_command_group(_COMMANDS), add_completion=False, rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
@wraps(take_flags)
def backtest(context: typer.Context, **flags: Any) -> None:
    """Replay a strategy over stored candles; the flags are those of `take_flags`."""
    if context.invoked_subcommand is not None:
        refuse_flags_before(context, "backtester")
        return
    if flags["watch"]:
        from backtester.watch.watch_loop import watch as watch_backtest

        watch_backtest(context)
        return
    run_command(context.params)


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "backtester", at_once=True)


if __name__ == "__main__":
    run()
