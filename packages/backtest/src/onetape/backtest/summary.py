"""The summary of a finished backtest (`RunSummary`), for `--json`, terminal and saved runs."""

from msgspec import UNSET

from onetape.backtest.assumptions import (
    collect_notes,
    describe_assumptions,
    find_pauses,
    join_run_checks,
)
from onetape.backtest.models import Backtest
from onetape.backtest.records import PauseSummary, RunSummary, SymbolDigits
from onetape.backtest.run_costs import describe_costs


def summarize(backtest: Backtest) -> RunSummary:
    """Return the summary of a backtest; the report and the folder are set by their writers."""
    runs, first = backtest.runs, backtest.first
    left_out = [run.window.left_out for run in runs if run.window.left_out is not None]
    return RunSummary(
        exchange=first.window.key.exchange,
        symbol=first.symbol,
        timeframe=first.window.key.timeframe,
        from_=first.window.start,
        to=first.window.end,
        candles=len(backtest.timestamp),
        warm_up=min(run.window.warm_up for run in runs),
        known_outages=sum(run.window.known_outages for run in runs),
        unexplained_gaps=sum(run.window.unexplained for run in runs),
        pauses=_collect_pauses(backtest),
        left_out=max(left_out, default=None),
        strategy=backtest.strategy_name,
        parameters=dict(backtest.parameters),
        assumptions=describe_assumptions(backtest),
        digits={
            run.symbol: SymbolDigits(run.digits.price, run.digits.money, run.digits.amount)
            for run in runs
        },
        check=join_run_checks(backtest),
        notes=collect_notes(backtest),
        metrics=backtest.metrics,
        seconds=backtest.seconds,
        database=str(backtest.config.database),
        report=None,
        run=None,
        symbols=[run.symbol for run in runs] if backtest.has_several else UNSET,
        benchmark=UNSET if backtest.benchmark is None else backtest.benchmark.symbol,
        return_without_costs=backtest.return_without_costs,
        costs=describe_costs(backtest.config.account),
    )


def _collect_pauses(backtest: Backtest) -> list[PauseSummary]:
    return [
        PauseSummary(run.symbol, pause.gap_from, pause.gap_to, pause.series, pause.trading_since)
        for run in backtest.runs
        if run.has_gaps
        for pause in find_pauses(run.window, run.segments)
    ]
