"""The command line of the trader: `trader` trades, its subcommands show and control."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from msgspec import structs

from onetape.cli import options
from onetape.cli.flag_values import collect_flag_values
from onetape.cli.flags import takes_settings
from onetape.cli.program import refuse_flags_before, run_app
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from trader.commands.accounts import list_accounts
from trader.commands.control import (
    exit_position,
    flatten_position,
    halt_orders,
    pause_entries,
    reload_settings,
    resume_entries,
)
from trader.commands.drill import start_drill
from trader.commands.explain import explain_moment
from trader.commands.logs import show_logs
from trader.commands.profit import show_profit
from trader.commands.reconcile import reconcile_account
from trader.commands.report import write_account_report
from trader.commands.risk import show_risk
from trader.commands.status import show_status
from trader.commands.trades import list_trades
from trader.settings import TraderSettings
from trader.start import COMMAND_SIGNALS, hold_signal, stop_before_trading

if TYPE_CHECKING:
    from onetape.cli.loading import LoadedSettings

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
@takes_settings(
    TraderSettings,
    after={
        "dry_run": "--low-profit-pairs",
        "live": "--dry-run",
        "yes": "--live",
        "config": "--db",
        "params_from": "--param",
    },
)
def trade(
    context: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Trade on paper, which is the default.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Send orders to the exchange; needs an API key.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="Confirm the first live entry of an account without a question (docs/live.md).",
        ),
    ] = False,
    params_from: options.ParamsFrom = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="YAML file.  [default: user/config/trader.yaml if it exists, otherwise "
            "config/trader.yaml]",
        ),
    ] = None,
    **flags: Any,
) -> None:
    """Run a strategy on live candles, on paper or with real orders, until Ctrl-C or SIGTERM."""
    if context.invoked_subcommand is not None:
        _end_on_signals()
        refuse_flags_before(context, "trader")
        return
    from onetape.cli.loading import find_settings_file
    from onetape.cli.output import print_line
    from trader.monitoring.monitored_run import start_monitoring
    from trader.run import run_trader
    from trader.run_parameters import load_trader_settings
    from trader.settings_reload import set_settings_loader
    from trader.start_settings import check_start_settings

    if live and dry_run:
        raise UsageError("--live and --dry-run exclude each other")
    mode = "live" if live else "paper" if dry_run else None
    given = {"mode": mode, **collect_flag_values(TraderSettings, flags)}
    file = find_settings_file("trader", config)
    loaded, fault = _load_with_fault(file, given, params_from)
    if given.get("symbol") and loaded.settings.symbols:
        raise UsageError(
            f"--symbol and the list symbols of {file} exclude each other; leave --symbol out, or "
            "name a file without that list with --config"
        )
    with loaded.places.add_places_to_errors():
        check_start_settings(loaded.settings)
        with (
            start_monitoring(loaded.settings.monitoring),
            set_settings_loader(
                lambda: _check_settings(load_trader_settings(file, given, params_from))
            ),
        ):
            if loaded.run_text:
                print_line(loaded.run_text)
            run_trader(loaded.settings, is_confirmed=yes, strategy_fault=fault)


app.command("drill")(start_drill)
app.command("reconcile")(reconcile_account)
app.command("status")(show_status)
app.command("trades")(list_trades)
app.command("profit")(show_profit)
app.command("accounts")(list_accounts)
app.command("logs")(show_logs)
app.command("report")(write_account_report)
app.command("explain")(explain_moment)
app.command("risk")(show_risk)
app.command("pause")(pause_entries)
app.command("resume")(resume_entries)
app.command("exit")(exit_position)
app.command("halt")(halt_orders)
app.command("reload")(reload_settings)
app.command("flatten")(flatten_position)


def _load_with_fault(
    file: Path | None, given: dict[str, Any], params_from: str | None
) -> "tuple[LoadedSettings[TraderSettings], OnetapeError | None]":
    """Return the settings, with the error of the strategy's file or the saved run that they lack.

    A freqtrade file states settings too; without them an open position is still managed.

    Raises:
        OnetapeError: the settings cannot be used, whatever the strategy's file states.
    """
    from onetape.cli.loading import load_settings
    from trader.run_parameters import load_trader_settings

    try:
        return load_trader_settings(file, given, params_from), None
    except (UsageError, ConfigurationError) as error:
        loaded = load_settings(TraderSettings, "trader", file, given, reads_strategy=False)
        if params_from is not None:
            loaded.settings = structs.replace(loaded.settings, params_from=None)
        # A start with a position open goes on without the file; any other raises the error.
        return loaded, error


def _check_settings(loaded: "LoadedSettings[TraderSettings]") -> TraderSettings:
    """Return settings that were read again, after the checks of a start."""
    from trader.start_settings import check_settings

    with loaded.places.add_places_to_errors():
        check_settings(loaded.settings)
    return loaded.settings


def _end_on_signals() -> None:
    """Let signals end the process of a subcommand as usual, because nothing trades in it."""
    for number, handler in (
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
        *((number, signal.SIG_DFL) for number in COMMAND_SIGNALS),
    ):
        if signal.getsignal(number) in (stop_before_trading, hold_signal):
            signal.signal(number, handler)


def run() -> NoReturn:
    """Run the program; before trading begins, SIGTERM or Ctrl-C ends it at once with code 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_before_trading)
    run_app(app, "trader")


if __name__ == "__main__":
    run()
