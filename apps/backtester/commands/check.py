"""`backtester check`: prove that a strategy uses no later candles and looks back enough."""

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
    from backtester.flags import chosen_by
    from backtester.process_signals import stoppable
    from backtester.rendering.check import (
        check_failure,
        checked_document,
        checked_lines,
        progress_bar,
    )
    from onetape.backtest.full_check import check_series
    from onetape.cli.output import print_json, print_line

    chosen = chosen_by(context.args, "check")
    config = chosen.config
    done: list[CheckedSeries] = []
    for symbol in config.symbols:
        with chosen.places.naming_places(), stoppable("stopped before every bar was checked"):
            single = config.of_symbol(symbol)
            done.append(check_series(single, whole=all_, show_progress=progress_bar))
        if not json_:
            if len(config.symbols) > 1:
                print_line(f"{done[-1].series}:")
            for line in checked_lines(done[-1]):
                print_line(line)
    if json_:
        documents = [checked_document(one) for one in done]
        print_json(documents[0] if len(documents) == 1 else {"series": documents})
    for one in done:
        failure = check_failure(one)
        if failure is not None:
            raise failure
