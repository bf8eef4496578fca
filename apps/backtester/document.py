"""A finished run as one JSON document; what the terminal shows is made from it too.

So a run reads the same on the day it was made and out of its folder later.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from msgspec.structs import asdict

from backtester.assumptions import assumptions, notes
from backtester.run_digits import digits_by_symbol
from backtester.trade_rows import EXIT_WORDS, TRADE_FIELDS, TradeRows
from onetape.cli.output import print_bytes
from onetape.engine import Trade
from onetape.strategies import parameters_of
from onetape.strategies.segments import WHOLE

if TYPE_CHECKING:
    from backtester.run import Backtest

Document = dict[str, Any]

_VALUES = attrgetter(*TRADE_FIELDS)


#: Trades that are turned into text at a time: all at once would take twice their memory.
_AT_ONCE: Final = 2_000


def print_document(document: Document) -> None:
    """Print a run as one JSON document, each trade on a line of its own."""
    head = {name: value for name, value in document.items() if name != "trades"}
    encoder = msgspec.json.Encoder(enc_hook=str)
    text = msgspec.json.format(encoder.encode(head), indent=2)
    trades: Sequence[Any] = document["trades"]
    print_bytes(text.removesuffix(b"}").rstrip() + b',\n  "trades": [\n')
    for start in range(0, len(trades), _AT_ONCE):
        stop = start + _AT_ONCE
        some = trades.records(start, stop) if isinstance(trades, TradeRows) else trades[start:stop]
        lines = encoder.encode_lines(some).rstrip()
        is_last = stop >= len(trades)
        # No text holds a line feed of its own: JSON writes it as an escape.
        print_bytes(lines.replace(b"\n", b",\n") + (b"\n" if is_last else b",\n"))
    print_bytes(b"  ]\n}\n")


def result_document(backtest: "Backtest") -> Document:
    """Return the run; ratios are parts, times are epoch seconds."""
    tape = backtest.tape
    return {
        "exchange": tape.key.exchange,
        "symbol": tape.key.symbol,
        "timeframe": tape.key.timeframe,
        "from": tape.start,
        "to": tape.end,
        "candles": len(backtest.result.candles),
        "warm_up": tape.warm_up,
        "known_outages": tape.known_outages,
        "unexplained_gaps": tape.unexplained,
        "pauses": pause_documents(backtest),
        "left_out": tape.left_out,
        "strategy": backtest.strategy.name,
        "parameters": parameter_values(backtest),
        "assumptions": assumptions(backtest),
        "digits": digits_by_symbol(backtest),
        "check": asdict(backtest.check),
        "notes": notes(backtest),
        "metrics": backtest.metrics.as_dict(),
        "trades": TradeRows(backtest.result, backtest.signals, tape.warm_up),
        "seconds": backtest.seconds,
        "database": str(backtest.database),
        "report": None,
        "run": None,
    }


def pause_documents(backtest: "Backtest") -> list[Document]:
    """Return the parts of the range that a warm-up after a hole keeps from being traded."""
    if backtest.segments == WHOLE:
        return []
    from backtester.warm_up import pauses_of

    tape = backtest.tape
    found = pauses_of(tape, backtest.segments)
    return [{"symbol": tape.key.symbol, **asdict(pause)} for pause in found]


def parameter_values(backtest: "Backtest") -> dict[str, Any]:
    """Return the strategy's parameters by name."""
    strategy = backtest.strategy
    return {info.name: getattr(strategy, info.name) for info in parameters_of(strategy)}


def trade_values(backtest: "Backtest", trade: Trade) -> dict[str, Any]:
    """Return a trade's fields by name, with why it was entered and left."""
    return {
        **dict(zip(TRADE_FIELDS, _VALUES(trade), strict=True)),
        "entry_reason": entry_reason(backtest, trade),
        "exit_reason": exit_reason(backtest, trade),
    }


def entry_reason(backtest: "Backtest", trade: Trade) -> str:
    """Return why it was bought, in words."""
    return _signal_reason(backtest, trade.entry_index) or "buy signal"


def exit_reason(backtest: "Backtest", trade: Trade) -> str:
    """Return why it was sold, in words; empty while open."""
    if trade.exit_index is None or trade.exit_kind is None:
        return ""
    said = _signal_reason(backtest, trade.exit_index) if trade.exit_kind == "signal" else ""
    return said or EXIT_WORDS[trade.exit_kind]


def _signal_reason(backtest: "Backtest", filled_index: int) -> str:
    # Warm-up candles count too.
    filled = np.array([filled_index])
    index = backtest.tape.warm_up + int(backtest.result.book.signal_bars(filled)[0])
    return backtest.signals.reason_text(index) if index >= 0 else ""
