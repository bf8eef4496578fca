"""Why a trader and the backtest of the same candles differ, read from what the trader stored."""

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
from trader.commands.account_result import series_of
from trader.commands.explanation import why_undecided
from trader.traded_report.positions import TradedPosition

#: Exits by a stop, which rests at the exchange where orders are real.
STOP_KINDS: Final = ("stop_loss", "trailing_stop")
#: Relative difference up to which two fee rates count as equal.
_SAME_RATE: Final = 1e-3


class Causes:
    """Finds the named cause of each difference of one symbol."""

    def __init__(
        self,
        store: Store,
        account: AccountSeries,
        sessions: Sequence[StoredSession],
        orders: Sequence[OrderRecord],
    ) -> None:
        """Take the stored sessions and orders of one symbol.

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

    def of_missing_entry(self, signal_timestamp: int, held: Callable[[int], bool]) -> str:
        """Return why the trader did not enter where the backtest did.

        Args:
            signal_timestamp: Candle whose signal the backtest followed.
            held: Whether the trader held a position at the close of a candle.
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
            row = read_candle(self._store, series_of(self._account), signal_timestamp)
            return why_undecided(self._store, self._account, self._sessions, row, signal_timestamp)
        decision = decisions[-1]
        settings = self.of_settings(decision.session)
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
        late = self._late_at(self._timeframe.next(signal_timestamp))
        if late and (order is None or order.filled_timestamp is None):
            return late
        if order is None:
            return settings or "the trader's own re-entry rule or slots"
        reason = f": {order.reason}" if order.reason else ""
        if order.filled_timestamp is not None:
            return f"the order was filled {format_utc(order.filled_timestamp)}{reason}"
        return f"order {order.status}{reason}"

    def of_extra_entry(
        self, position: TradedPosition, held: Callable[[int], bool], exits: Iterable[int]
    ) -> str:
        """Return why the backtest did not enter where the trader did.

        Args:
            position: Position that the trader entered.
            held: Whether the backtest held a position at the close of a candle.
            exits: Candles in which the backtest left positions, epoch seconds.
        """
        signal = position.signal_timestamp
        if signal is not None and held(signal):
            return "the backtest held a position already"
        if signal is not None and any(self._is_in_cooldown(signal, left) for left in exits):
            return "the backtest was in the cooldown after an exit"
        settings = self.of_settings(position.session)
        if settings:
            return settings
        if signal is not None:
            decisions = read_decisions(
                self._store, self._account, signal, self._timeframe.next(signal)
            )
            if decisions and decisions[-1].corrected_ms is not None:
                result = decisions[-1].correction or "not evaluated again yet"
                return f"candles were corrected after the decision: {result}"
        return self._late_at(position.entry_timestamp) or (
            "the backtest had another signal on the candles that are stored now, or no money or "
            "place for it, after the differences before"
        )

    def _is_in_cooldown(self, signal: int, left: int) -> bool:
        """Return whether the settings let no BUY on a candle enter after an exit in another one."""
        bars = self._sessions[-1].rules.get("cooldown_bars") if self._sessions else None
        end = self._timeframe.shift(left, bars) if isinstance(bars, int) else left
        return left <= signal < end

    def _late_at(self, moment: int) -> str:
        """Return which symbols were late for the entries at an open; empty where none was."""
        late = read_latecomers(self._store, self._account.name, moment, moment + 1)
        return f"late: {'; '.join(one.text for one in late)}" if late else ""

    def of_settings(self, session: str) -> str:
        """Return which settings of a session differ from the backtest's; empty where none does."""
        own = self._by_session.get(session)
        last = self._sessions[-1] if self._sessions else None
        if own is None or last is None or own.session == last.session:
            return ""
        parts = [
            *_changes(own.parameters, last.parameters),
            *_changes(own.rules, last.rules),
        ]
        return f"other settings then: {', '.join(parts)}" if parts else ""

    def of_entry_price(self, position: TradedPosition, expected: float) -> str:
        """Return why an entry in the same candle had another price.

        Args:
            position: Position that the trader traded.
            expected: Price of the backtest, quote currency.
        """
        settings = self.of_settings(position.session)
        if settings:
            return settings
        if self._is_live:
            bought, rules = _texts(position.entry_price, expected)
            return f"spread at the entry: bought at {bought}, by the rules at {rules}"
        return "entry price: the candle had another open then"

    def of_exit(self, position: TradedPosition, kind: ExitKind | None, other: str) -> str:
        """Return why a position was left in another way.

        Args:
            position: Position that the trader traded.
            kind: Kind of exit of the backtest's trade; None: it is open.
            other: Description of the backtest's exit.
        """
        settings = self.of_settings(position.session)
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

    def of_exit_price(self, position: TradedPosition, expected: float) -> str:
        """Return why an exit of the same kind in the same candle had another price.

        Args:
            position: Position that the trader traded.
            expected: Price of the backtest, quote currency.
        """
        settings = self.of_settings(position.session)
        if settings or not self._is_live:
            return f"exit price: {settings or position.exit_reason or 'another one then'}"
        name = "stop" if position.exit_type in STOP_KINDS else "spread at the exit"
        sold, rules = _texts(position.exit_price, expected)
        return f"{name}: sold at {sold}, by the rules at {rules}"

    def of_size(self, *, is_first: bool) -> str:
        """Return why a position had another size.

        Args:
            is_first: Whether it is the trader's first, so that the equity was the backtest's.
        """
        if is_first and self._is_live:
            return "size: ordered by the offers of the exchange, not by the open"
        return "size: the account had another equity, after the differences before"

    def of_fees(self, traded: float, tested: float) -> str:
        """Return why the fees differ.

        Args:
            traded: Fees as a part of what was traded.
            tested: Positions of the backtest.
        """
        if abs(traded - tested) <= _SAME_RATE * tested:
            return "fees: of other prices and amounts"
        return f"fees: {traded:.4%} of what was traded, by the settings {tested:.4%}"

    def of_fee_in_coin(self, position: TradedPosition) -> str:
        """Return the effect of fees in base currency on the result."""
        base = split_symbol(self._account.symbol)[0]
        if not position.fee_base:
            return f"fee in coin: the settings take it in {base}, the exchange did not"
        return (
            f"fee in coin: {format_number(position.fee_base)} {base}, at another price at the exit"
        )

    def of_left_over(self, position: TradedPosition) -> str:
        """Return which coins a sell left over, or took from earlier positions."""
        base = split_symbol(self._account.symbol)[0]
        amount = f"{format_number(abs(position.left_over))} {base}"
        if position.left_over < 0:
            return f"left over: {amount} of earlier positions were sold with it"
        return f"left over: {amount} are less than the market lets one sell"

    @property
    def _is_live(self) -> bool:
        return self._account.mode == "live"


def _changes(own: Mapping[str, Any], last: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_shown(own.get(name))}, now {_shown(last.get(name))}"
        for name in dict.fromkeys([*own, *last])
        if own.get(name) != last.get(name)
    ]


def _texts(*prices: float) -> list[str]:
    """Return prices with as many digits as the mean of several fills deserves."""
    return [format_number(price, commas=True) for price in prices]


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
