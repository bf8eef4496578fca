"""A look at some bars of the best combination, as every backtest takes one."""

from collections.abc import Sequence

import msgspec

from backtester.check import Look, fresh_maker, look_at_run
from backtester.higher import HigherTape
from backtester.load import Tape
from backtester.search.ranking import Tried
from backtester.search.space import value_text
from backtester.settings import BacktesterSettings
from backtester.warm_up import run_segments
from onetape.core.errors import OnetapeError
from onetape.strategies.segments import signals_by_segment


def look_at_best(
    settings: BacktesterSettings, order: Sequence[Tried], tape: Tape, higher: HigherTape
) -> Look | None:
    """Return what a check of the best combination on the whole range finds; None without one.

    A strategy that looks ahead shines in the held-out part as well: only a check tells.

    Args:
        settings: Of the search.
        order: The combinations, best first.
        tape: The whole range.
        higher: The larger candles beside it.
    """
    if not order:
        return None
    parameters = {name: value_text(value) for name, value in order[0]["parameters"].items()}
    chosen = msgspec.structs.replace(settings.strategy, parameters=parameters)
    best = msgspec.structs.replace(settings, strategy=chosen)
    try:
        strategy = fresh_maker(best)()
        segments = run_segments(tape, higher, strategy)
        signals = signals_by_segment(strategy, tape.candles, higher.candles, segments)
    except OnetapeError as error:
        return Look(f"not run: {' '.join(str(error).split())}")
    return look_at_run(best, tape, higher.candles, segments, signals)
