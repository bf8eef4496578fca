"""A run over several symbols that share one account."""

import time
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import asdict, replace

from backtester.alarm import warning
from backtester.assumptions import assumptions, notes
from backtester.axis import on_axis
from backtester.check import Look, joined_looks
from backtester.common_range import common_range
from backtester.document import Document, pause_documents, result_document, trade_values
from backtester.load import open_tape
from backtester.refusals import refusal_notes
from backtester.run import (
    Backtest,
    backtest_of,
    detail_of,
    part_of,
    series_has_volume,
    series_key,
    strategy_of,
    symbols_of,
)
from backtester.run_digits import digits_by_symbol
from backtester.settings import BacktesterSettings
from onetape.cli.settings import database_path
from onetape.core.candles import FloatArray
from onetape.core.errors import UsageError
from onetape.core.symbols import base_and_quote, spot_symbol
from onetape.core.words import counted
from onetape.engine import TIE_RULE, Series, metrics_of, shared_holding, simulate_together

if TYPE_CHECKING:
    from onetape.report import OtherMarket, ReportData


def backtested_together(settings: BacktesterSettings) -> Backtest:
    """Return the run of the first symbol; `others` has the rest, `metrics` are the account's.

    Raises:
        UsageError: the symbols cannot share an account, or another setting cannot be used.
        OnetapeError: as for one symbol; nothing is written then.
    """
    began = time.monotonic()
    singles = [replace(settings, symbol=symbol) for symbol in checked_symbols(settings)]
    keys = [series_key(single) for single in singles]
    strategy = strategy_of(settings)
    path = database_path(settings.db, settings.exchange)
    with open_tape(path, keys[0], singles[0]) as store:
        common = common_range(store, keys, settings)
        parts = [common.with_ends(part_of(common.of(one), store, strategy)) for one in singles]
        series = [
            Series(
                symbol=part.tape.key.symbol,
                candles=part.tape.candles,
                signal=part.orders,
                start_index=part.tape.warm_up,
                steps=part.rules.steps,
                detail=detail_of(store, part.tape, part.settings, part.rules),
                has_volume=series_has_volume(store, part.tape),
            )
            for part in parts
        ]
        portfolio = simulate_together(series, parts[0].rules, settings.max_open_trades)
    metrics = metrics_of(portfolio)
    first, *others = (
        backtest_of(part, path, result, metrics, began)
        for part, result in zip(parts, portfolio.parts, strict=True)
    )
    return replace(
        first,
        settings=settings,
        others=tuple(others),
        account=portfolio,
        range_notes=common.notes,
        seconds=round(time.monotonic() - began, 3),
    )


def together_document(backtest: Backtest) -> Document:
    """Return the run as `result_document` does, of the account and with all trades."""
    document = result_document(backtest)
    parts = (backtest, *backtest.others)
    tapes = [part.tape for part in parts]
    trades = [trade_values(part, trade) for part in parts for trade in part.result.trades]
    document["digits"] = digits_by_symbol(backtest)
    document["symbols"] = [tape.key.symbol for tape in tapes]
    document["candles"] = len(backtest.timestamp)
    document["warm_up"] = min(tape.warm_up for tape in tapes)
    document["pauses"] = [pause for part in parts for pause in pause_documents(part)]
    document["known_outages"] = sum(tape.known_outages for tape in tapes)
    document["unexplained_gaps"] = sum(tape.unexplained for tape in tapes)
    left_out = [tape.left_out for tape in tapes if tape.left_out is not None]
    document["left_out"] = max(left_out, default=None)
    document["trades"] = sorted(trades, key=lambda trade: trade["entry_timestamp"])
    document["check"] = asdict(looks_together(backtest))
    document["notes"] = notes_together(backtest)
    return document


def looks_together(backtest: Backtest) -> Look:
    """Return what the looks at all symbols found."""
    parts = (backtest, *backtest.others)
    return joined_looks({part.tape.key.symbol: part.check for part in parts})


def notes_together(backtest: Backtest) -> list[str]:
    """Return the notes of all symbols; what holds for some of them begins with the symbol."""
    parts = {part.tape.key.symbol: notes(part) for part in (backtest, *backtest.others)}
    own = dict.fromkeys(
        text if all(text in one for one in parts.values()) else f"{symbol}: {text}"
        for symbol, texts in parts.items()
        for text in texts
    )
    results = [part.result for part in (backtest, *backtest.others)]
    return [*backtest.range_notes, *own, *refusal_notes(results, most_open(backtest))]


def words_together(backtest: Backtest, words: dict[str, str]) -> dict[str, str]:
    """Return the assumptions of an account.

    Args:
        backtest: The run.
        words: Of its first symbol; what others have otherwise is said for each of them.
    """
    parts = {part.tape.key.symbol: part for part in (backtest, *backtest.others)}
    own = {symbol: assumptions(part) for symbol, part in parts.items() if part is not backtest}
    own = {backtest.tape.key.symbol: words, **own}
    for label in ("account", "market", *backtest.higher.words):
        texts = {symbol: each[label] for symbol, each in own.items()}
        if len(set(texts.values())) > 1:
            words = {**words, label: "; ".join(f"{one}: {text}" for one, text in texts.items())}
    skipped = 0 if backtest.account is None else backtest.account.skipped_entries
    return {
        **words,
        "symbols": f"{', '.join(parts)} on one account, max "
        f"{counted(most_open(backtest), 'open trade')} "
        f"(entries skipped, all slots full: {skipped:,})",
        "ties": TIE_RULE,
    }


def most_open(backtest: Backtest) -> int:
    """Return how many positions the account may have at a time."""
    symbols = 1 + len(backtest.others)
    return min(backtest.settings.max_open_trades or symbols, symbols)


def with_others(backtest: Backtest, data: "ReportData", others: "list[ReportData]") -> "ReportData":
    """Return the page of the first symbol with the charts and trades of all, of one account."""
    data, *others = (on_axis(backtest, page) for page in (data, *others))
    trades = [trade for page in (data, *others) for trade in page.trades]
    look = looks_together(backtest)
    held = _held_together(backtest, data)
    return replace(
        data,
        title=replace(
            data.title,
            rules={**data.title.rules, "check": look.text},
            warning=warning(asdict(look)),
            warning_text=f"Check: {look.text}",
            notes=tuple(notes_together(backtest)),
        ),
        trades=tuple(sorted(trades, key=lambda trade: trade.entry_timestamp)),
        buy_and_hold=held,
        others=tuple(_other_market(page, held) for page in others),
    )


def _other_market(page: "ReportData", held: FloatArray) -> "OtherMarket":
    from onetape.report import OtherMarket

    return OtherMarket(
        symbol=page.title.symbol,
        candles=page.candles,
        equity=page.equity,
        buy_and_hold=held,
        indicators=page.indicators,
        overlays=page.overlays,
        levels=page.levels,
        digits=page.digits,
    )


def _held_together(backtest: Backtest, page: "ReportData") -> FloatArray:
    """Return what holding all symbols was worth at the candles of a page; shape (n,)."""
    markets = [(part.result.candles, part.result.rules) for part in (backtest, *backtest.others)]
    held = shared_holding(markets, page.candles.timestamp)
    return np.full(len(page.equity), page.start_cash) if held is None else held


def checked_symbols(settings: BacktesterSettings) -> list[str]:
    """Return the symbols, proven to fit one account."""
    symbols = [spot_symbol(symbol) for symbol in symbols_of(settings)]
    twice = next((symbol for symbol in symbols if symbols.count(symbol) > 1), None)
    if twice is not None:
        raise UsageError(f"--symbol {twice} is given twice; leave one out")
    quotes = sorted({base_and_quote(symbol)[1] for symbol in symbols})
    if len(quotes) > 1:
        raise UsageError(
            f"symbols that share an account need one quote currency, found {', '.join(quotes)}"
        )
    return symbols
