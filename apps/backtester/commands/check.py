"""`backtester check`: prove that a strategy sees no future and looks back far enough."""

from typing import Annotated

import typer

from onetape.cli import options


def check(
    context: typer.Context,
    *,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Every bar, also of a range of more than 200,000."),
    ] = False,
    json_: options.Json = False,
) -> None:
    """Check on every bar that the last candles decide as all do; it takes a backtest's flags.

    On each bar the signal of the last candles (as many as the strategy's lookback, at least 100, as
    the trader reads) must be the one that the whole range gave. A range of more than 200,000 bars
    is checked in part, which the candles choose, unless --all is given. Exit 6 where a bar differs.
    """
    from backtester.check import fresh_maker, load_check_data, progress_bar
    from backtester.main import backtest_settings
    from onetape.cli.output import print_json, print_line
    from onetape.core.clock import utc_text
    from onetape.core.errors import CheckFailed
    from onetape.core.words import counted
    from onetape.strategies.check import check_strategy, part_to_check
    from onetape.strategies.check_words import check_document, check_line, lookback_text, remedy
    from onetape.strategies.smallest import smallest_lookback

    settings = backtest_settings(context.args, "check")
    strategy, data = load_check_data(settings)
    make = fresh_maker(settings)
    bars = part_to_check(data, whole=all_)
    if not json_ and len(bars) < len(data):
        first, last = (utc_text(int(data.candles.timestamp[bars[end]])) for end in (0, -1))
        print_line(f"range: {first} to {last} UTC, chosen by the candles; all: --all")
    with progress_bar(f"check {strategy.name}", len(bars)) as report:
        result = check_strategy(make, data, bars, report)
    found = result.first
    smallest = None
    if found is not None and found.kind == "warm-up":
        with progress_bar("smallest lookback", 1):
            smallest = smallest_lookback(make, data, bars, result.differing, result.windows)
    if json_:
        print_json({"strategy": strategy.name, **check_document(result, smallest)})
    else:
        print_line(check_line(result))
        if found is not None and found.kind == "warm-up":
            print_line(lookback_text(result, smallest))
        if result.look_ahead is not None and found is not result.look_ahead:
            when = utc_text(result.look_ahead.timestamp)
            print_line(f"look-ahead besides, first seen at {when} UTC")
    if found is not None:
        series = f"{settings.exchange} {settings.symbol} {settings.timeframe}"
        many = counted(len(result.differing), "bar")
        raise CheckFailed(
            f"strategy {strategy.name} on {series}: {found.kind} on {many}, first "
            f"{utc_text(found.timestamp)} UTC; {remedy(result.look_ahead or found)}"
        )
