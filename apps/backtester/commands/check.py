"""`backtester check`: the bias check of every bar, for look-ahead and a too short lookback."""

from typing import TYPE_CHECKING, Annotated

import typer

from onetape.cli import options

if TYPE_CHECKING:
    from onetape.backtest.full_check import CheckedSeries


def check(
    context: typer.Context,
    *,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Check every bar of a range of more than 200,000 too."),
    ] = False,
    json_: options.Json = False,
) -> None:
    """Check that no signal uses later candles; takes the flags of a backtest.

    The signal from the last candles (the strategy's lookback, at least 100, as in the trader) must
    be equal to the signal from the whole range. Of more than 200,000 bars a sample is checked,
    unless --all is given. Exit code 6 if a bar differs.
    """
    from backtester.flags import load_backtest_from_flags
    from backtester.process_signals import exit_on_signal
    from backtester.rendering.check import (
        find_check_failure,
        format_series_check,
        make_series_check_document,
        progress_bar,
    )
    from onetape.backtest.full_check import check_series
    from onetape.cli.output import print_json, print_line

    chosen = load_backtest_from_flags(context.args, "check")
    config = chosen.config
    done: list[CheckedSeries] = []
    for symbol in config.symbols:
        with (
            chosen.places.add_places_to_errors(),
            exit_on_signal("stopped before every bar was checked"),
        ):
            single = config.select_symbol(symbol)
            done.append(check_series(single, whole=all_, show_progress=progress_bar))
        if not json_:
            if len(config.symbols) > 1:
                print_line(f"{done[-1].series}:")
            for line in format_series_check(done[-1]):
                print_line(line)
    if json_:
        documents = [make_series_check_document(one) for one in done]
        print_json(documents[0] if len(documents) == 1 else {"series": documents})
    for one in done:
        failure = find_check_failure(one)
        if failure is not None:
            raise failure
