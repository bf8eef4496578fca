"""Names the likely cause of a difference between trader and backtest.

Causes of entries come from stored rows, others from the mode and the settings of the account.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from onetape.core.clock import format_utc
from onetape.core.digits import format_number
from onetape.core.symbols import split_symbol
from onetape.core.timeframes import Timeframe
from onetape.report import ExitKind
from onetape.store.account_reading import StoredSession
from onetape.store.accounts import AccountSeries
from onetape.store.database import Store
from onetape.store.decision_reading import OrderRecord, read_candle, read_decisions
from onetape.store.latecomers import read_latecomers
from trader.commands.account_result import make_series_key
from trader.commands.explanation import explain_missing_decision
from trader.traded_report.positions import TradedPosition

#: Kinds of exits by a stop; live, the stop rests at the exchange.
STOP_KINDS: Final = ("stop_loss", "trailing_stop")
#: Relative difference up to which two fee rates count as equal.
_SAME_RATE: Final = 1e-3


class Causes:
    """Names the likely causes of differences in one symbol; each method returns a text."""

    def __init__(
        self,
        store: Store,
        account: AccountSeries,
        sessions: Sequence[StoredSession],
        orders: Sequence[OrderRecord],
    ) -> None:
        """Initialise with the stored sessions and orders of one symbol.

        Args:
            store: The open database.
            account: Account, with its symbol.
            sessions: Sessions of the symbol, oldest first; the last one's settings are the
                backtest's.
            orders: Orders of the symbol, oldest first.
        """
        self._store = store
        self._account = account
        self._timeframe = Timeframe.parse(account.timeframe)
        self._sessions = sessions
        self._by_session = {one.session: one for one in sessions}
        self._orders = orders

    def explain_missing_entry(self, signal_timestamp: int, held: Callable[[int], bool]) -> str:
        """Return the reason why the trader did not enter in the candle in which the backtest did.

        Args:
            signal_timestamp: Open of the candle whose BUY the backtest followed, epoch seconds.
            held: Returns whether the trader held a position at the close of a candle.
        """
        if held(signal_timestamp):
            return "the trader held a position already"
        decisions = read_decisions(
            self._store,
            self._account,
            signal_timestamp,
            self._timeframe.next(signal_timestamp),
        )
        if not decisions:
            row = read_candle(self._store, make_series_key(self._account), signal_timestamp)
            return explain_missing_decision(
                self._store, self._account, self._sessions, row, signal_timestamp
            )
        decision = decisions[-1]
        settings = self.describe_changed_settings(decision.session)
        failed = decision.failed_gates
        if "strategy" in failed:
            return f"no signal: {failed['strategy']}"
        if decision.signal <= 0:
            corrected = decision.corrected_ms is not None
            return settings or (
                "another signal when it was decided, "
                + ("candles were corrected since" if corrected else "candles or code changed since")
            )
        if failed:
            name, why = next(iter(failed.items()))
            return f"{name}: {why}"
        order = next((one for one in self._orders if one.decision == decision.decision), None)
        late = self._describe_late_symbols(self._timeframe.next(signal_timestamp))
        if late and (order is None or order.filled_timestamp is None):
            return late
        if order is None:
            return settings or "the trader's own re-entry rule or slots"
        reason = f": {order.reason}" if order.reason else ""
        if order.filled_timestamp is not None:
            return f"the order was filled {format_utc(order.filled_timestamp)}{reason}"
        return f"order {order.status}{reason}"

    def explain_extra_entry(
        self, position: TradedPosition, held: Callable[[int], bool], exits: Iterable[int]
    ) -> str:
        """Return the reason why the backtest did not enter although the trader did.

        Args:
            position: Position that the trader entered.
            held: Returns whether the backtest held a position at the close of a candle.
            exits: Opens of the candles in which the backtest sold, epoch seconds.
        """
        signal = position.signal_timestamp
        if signal is not None and held(signal):
            return "the backtest held a position already"
        if signal is not None and any(self._is_in_cooldown(signal, left) for left in exits):
            return "the backtest was in the cooldown after an exit"
        settings = self.describe_changed_settings(position.session)
        if settings:
            return settings
        if signal is not None:
            decisions = read_decisions(
                self._store, self._account, signal, self._timeframe.next(signal)
            )
            if decisions and decisions[-1].corrected_ms is not None:
                result = decisions[-1].correction or "not evaluated again yet"
                return f"candles were corrected after the decision: {result}"
        return self._describe_late_symbols(position.entry_timestamp) or (
            "the backtest had another signal on the candles that are stored now, or no money or "
            "free slot, because of earlier differences"
        )

    def _is_in_cooldown(self, signal: int, left: int) -> bool:
        """Return whether a signal lies in the cooldown after an exit.

        Args:
            signal: Open of the candle of the signal, epoch seconds.
            left: Open of the candle of the exit, epoch seconds.
        """
        bars = self._sessions[-1].rules.get("cooldown_bars") if self._sessions else None
        end = self._timeframe.shift(left, bars) if isinstance(bars, int) else left
        return left <= signal < end

    def _describe_late_symbols(self, moment: int) -> str:
        """Return a text with the latecomers of the entries at an open; empty: none."""
        late = read_latecomers(self._store, self._account.name, moment, moment + 1)
        return f"late: {'; '.join(one.text for one in late)}" if late else ""

    def describe_changed_settings(self, session: str) -> str:
        """Return a text with a session's settings that differ from the backtest's; empty: none."""
        own = self._by_session.get(session)
        last = self._sessions[-1] if self._sessions else None
        if own is None or last is None or own.session == last.session:
            return ""
        parts = [
            *_format_changes(own.parameters, last.parameters),
            *_format_changes(own.rules, last.rules),
        ]
        return f"other settings then: {', '.join(parts)}" if parts else ""

    def explain_entry_price(self, position: TradedPosition, expected: float) -> str:
        """Return the reason why an entry in the same candle had another price.

        Args:
            position: Position of the trader.
            expected: Price of the backtest, quote currency.
        """
        settings = self.describe_changed_settings(position.session)
        if settings:
            return settings
        if self._is_live:
            bought, rules = _format_prices(position.entry_price, expected)
            return f"spread at the entry: bought at {bought}, by the rules at {rules}"
        return "entry price: the candle had another open then"

    def explain_exit(self, position: TradedPosition, kind: ExitKind | None, other: str) -> str:
        """Return the reason why a position was sold in another way or another candle.

        Args:
            position: Position of the trader.
            kind: Kind of exit of the backtest's trade; None: it is open.
            other: Text of the backtest's exit.
        """
        settings = self.describe_changed_settings(position.session)
        more = f"; {settings}" if settings and position.exit_type != "command" else ""
        if position.is_open:
            return f"still open; backtest: {other}{more}"
        sold = f"sold {format_utc(position.exit_timestamp or 0)}"
        if self._is_live and not more:
            if position.exit_type == kind == "target":
                return f"target: {sold}, at the market after its candle; backtest: {other}"
            if position.exit_type in STOP_KINDS and kind in STOP_KINDS:
                return f"stop: {sold}, by the stop at the exchange; backtest: {other}"
        reason = position.exit_reason
        if not reason or position.exit_type in STOP_KINDS:
            reason = position.exit_type.replace("_", " ")
        return f"{sold} ({reason}); backtest: {other}{more}"

    def explain_exit_price(self, position: TradedPosition, expected: float) -> str:
        """Return the reason why an exit of the same kind in the same candle had another price.

        Args:
            position: Position of the trader.
            expected: Price of the backtest, quote currency.
        """
        settings = self.describe_changed_settings(position.session)
        if settings or not self._is_live:
            return f"exit price: {settings or position.exit_reason or 'another one then'}"
        name = "stop" if position.exit_type in STOP_KINDS else "spread at the exit"
        sold, rules = _format_prices(position.exit_price, expected)
        return f"{name}: sold at {sold}, by the rules at {rules}"

    def explain_size(self, *, is_first: bool) -> str:
        """Return the reason why a position had another size.

        Args:
            is_first: Whether it is the first position: until then the equities are equal.
        """
        if is_first and self._is_live:
            return "size: computed from the exchange's asks, not from the open"
        return "size: the account had another equity, because of earlier differences"

    def explain_fees(self, traded: float, tested: float) -> str:
        """Return the reason why the fees differ.

        Args:
            traded: The trader's fees as a fraction of the traded value.
            tested: The backtest's fees as a fraction of the traded value.
        """
        if abs(traded - tested) <= _SAME_RATE * tested:
            return "fees: prices and amounts differ"
        return f"fees: {traded:.4%} of the traded value, by the settings {tested:.4%}"

    def explain_fee_in_coin(self, position: TradedPosition) -> str:
        """Return a text about fees in base currency, which the exchange or the settings take so."""
        base = split_symbol(self._account.symbol)[0]
        if not position.fee_base:
            return f"fee in coin: the settings take it in {base}, the exchange did not"
        return (
            f"fee in coin: {format_number(position.fee_base)} {base}, at another price at the exit"
        )

    def explain_left_over(self, position: TradedPosition) -> str:
        """Return a text about coins that a sell left over, or took from earlier positions."""
        base = split_symbol(self._account.symbol)[0]
        amount = f"{format_number(abs(position.left_over))} {base}"
        if position.left_over < 0:
            return f"left over: {amount} of earlier positions were sold with it"
        return f"left over: {amount} are less than the market lets one sell"

    @property
    def _is_live(self) -> bool:
        return self._account.mode == "live"


def _format_changes(own: Mapping[str, Any], last: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_format_value(own.get(name))}, now {_format_value(last.get(name))}"
        for name in dict.fromkeys([*own, *last])
        if own.get(name) != last.get(name)
    ]


def _format_prices(*prices: float) -> list[str]:
    """Return prices as texts; a mean of several fills has at most eight significant digits."""
    return [format_number(price, commas=True) for price in prices]


def _format_value(value: object) -> str:
    return "none" if value is None else str(value)
