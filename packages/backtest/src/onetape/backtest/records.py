"""Records of a finished backtest, as printed by `--json` and saved with a run.

A result just made and a saved run that is read later are the same records, so they print the same.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from onetape.core.digits import Digits, choose_money_decimals, choose_price_decimals
from onetape.core.symbols import split_symbol
from onetape.engine import Metrics, Trade
from onetape.strategies.check_result import BiasKind

#: The last second of the year 9999, after which no calendar goes on.
_LAST_SECOND: Final = 253_402_300_799

#: Epoch seconds.
Moment = Annotated[int, Meta(ge=0, le=_LAST_SECOND)]
Count = Annotated[int, Meta(ge=0)]


class BiasCheck(Struct, frozen=True, kw_only=True):
    """Result of the bias check (look-ahead, warm-up, state, chance) of a backtest."""

    text: str
    """Result in one sentence; after a sample, with the command that checks every bar."""
    clean: bool | None
    """Whether no checked bar differs; None: the check did not run."""
    bars_checked: Count
    """Number of bars checked."""
    bars: Count
    """Number of bars of the range."""
    differing: Count
    """Number of checked bars whose signal from the last candles differs from that of all candles,
    or fails."""
    first_bad_bar: Moment | None
    """Open (epoch seconds) of the first bar with the fault named by `kind`."""
    kind: BiasKind | None
    """Kind of the fault, such as look-ahead."""

    @classmethod
    def make_not_run(cls, text: str) -> "BiasCheck":
        """Return the record of a check that did not run.

        Args:
            text: Reason, and the command that runs the check.
        """
        return cls(
            text=text,
            clean=None,
            bars_checked=0,
            bars=0,
            differing=0,
            first_bad_bar=None,
            kind=None,
        )


def join_checks(checks: Mapping[str, BiasCheck]) -> BiasCheck:
    """Return the bias checks of several symbols as one; look-ahead outranks other faults.

    Args:
        checks: Bias checks by symbol.
    """
    bad = [check for check in checks.values() if check.first_bad_bar is not None]
    first = min(
        bad, key=lambda check: (check.kind != "look-ahead", check.first_bad_bar or 0), default=None
    )
    ran = [check.clean for check in checks.values() if check.clean is not None]
    return BiasCheck(
        text="; ".join(f"{symbol}: {check.text}" for symbol, check in checks.items()),
        clean=all(ran) if ran else None,
        bars_checked=sum(check.bars_checked for check in checks.values()),
        bars=sum(check.bars for check in checks.values()),
        differing=sum(check.differing for check in checks.values()),
        first_bad_bar=first and first.first_bad_bar,
        kind=first and first.kind,
    )


class TradeRecord(Trade, frozen=True, gc=False):
    """A round trip with the reasons of its entry and its exit, as printed and saved."""

    entry_reason: str
    """Reason of the entry, as a text."""
    exit_reason: str
    """Reason of the exit, as a text; empty while the position is open."""


#: Fields of a trade in a document, and columns of trades.csv.
TRADE_COLUMNS: Final = TradeRecord.__struct_fields__
#: Columns with the times of a trade as text, in addition to its timestamps.
TIME_COLUMNS: Final = ("entry_time", "exit_time")

_Decimals = Annotated[int, Meta(ge=0, le=20)]


class SymbolDigits(Struct, frozen=True):
    """Decimals that prices, money and amounts of one symbol are shown with."""

    price: _Decimals
    """Decimals of prices."""
    money: _Decimals
    """Decimals of money, quote currency."""
    amount: _Decimals
    """Decimals of amounts, base currency."""


class PauseSummary(Struct, frozen=True):
    """A part of the range that is not traded, because a warm-up after a gap is not full."""

    symbol: str
    gap_from: Moment
    """Open of the first missing candle, epoch seconds."""
    gap_to: Moment
    """Open of the first candle after the gap, epoch seconds."""
    timeframe: str
    """Timeframe of the missing candles; of another market with its symbol, as `BTC/USDT 1h`."""
    trading_since: Moment | None
    """Close of the first candle that is traded again, epoch seconds; None: the range or another gap
    comes first."""


class RunSummary(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Summary of a backtest without its trades; ratios are fractions, times are epoch seconds."""

    exchange: str
    symbol: str
    """Symbol of the run; of several, the first."""
    timeframe: str
    from_: Moment
    """Start of the range."""
    to: Moment
    """End of the range, exclusive."""
    candles: Count
    """Number of candles of the range."""
    warm_up: Count
    """Number of candles before the range."""
    known_outages: Count = 0
    """Number of candles of the range that are missing for a known reason."""
    unexplained_gaps: Count = 0
    """Number of candles of the range that are missing for an unknown reason."""
    pauses: list[PauseSummary] = []
    """Parts of the range that are not traded after unexplained gaps."""
    left_out: Moment | None = None
    """Open of the newest row, if nothing proves that it is closed; None: there is no such row."""
    strategy: str
    """Name of the strategy."""
    parameters: dict[str, Any]
    """Parameters of the strategy by name."""
    assumptions: dict[str, str]
    """Rules of the run as texts, by label."""
    digits: dict[str, SymbolDigits] = {}
    """Decimals by symbol; summaries of older versions have none."""
    check: BiasCheck
    """Result of the bias check over all symbols."""
    notes: list[str]
    """Notes and warnings of the run, in sentences."""
    metrics: Metrics
    """Metrics of the account."""
    seconds: float
    """Duration of the run, seconds."""
    database: str
    """Database that the candles were read from."""
    report: str | None
    """Path of the HTML report."""
    run: str | None
    """Folder of the saved run."""
    symbols: list[str] | UnsetType = UNSET
    """All symbols of a run over several."""
    benchmark: str | UnsetType = UNSET
    """Symbol that buy and hold holds, where it is not the traded ones."""
    return_without_costs: float | None = None
    """Total return of the same run without costs, as a ratio; None: the account has no costs."""
    costs: str = ""
    """Costs of the account, as a text; empty: no costs."""

    @property
    def all_symbols(self) -> list[str]:
        """Return the symbols of the run."""
        return [self.symbol] if self.symbols is UNSET else self.symbols

    @property
    def hold_label(self) -> str:
        """Return the label of buy and hold: with the symbol of a benchmark."""
        return "buy and hold" if self.benchmark is UNSET else f"buy and hold {self.benchmark}"

    @property
    def quote(self) -> str:
        """Return the quote currency of the account."""
        return split_symbol(self.symbol)[1]

    def get_digits(self, symbol: str, trades: Sequence[TradeRecord]) -> Digits:
        """Return the decimals of one symbol.

        Args:
            symbol: One of the run's symbols.
            trades: Trades of the run, whose prices show the decimals where the summary has none.
        """
        known = self.digits.get(symbol)
        if known is not None:
            return Digits(known.price, known.money, known.amount)
        of_symbol = [trade for trade in trades if (trade.symbol or symbol) == symbol]
        prices = [
            price for trade in of_symbol for price in (trade.entry_price, trade.exit_price) if price
        ]
        return Digits(
            price=choose_price_decimals(np.array(prices, dtype=np.float64)) if prices else 0,
            money=choose_money_decimals(split_symbol(symbol)[1], self.metrics.start_cash),
        )
