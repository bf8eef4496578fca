"""The limits of a live account: checked before each entry, and losses every few seconds.

This module reads prices, balances and counts, and passes them to the rules of
`execution/limit_checks.py` and `execution/risk_state.py`. A limit on losses that was passed is a
problem of the trader, which stops entries until a person clears it with `trader risk --clear`.
"""

import math
import time
from decimal import Decimal
from typing import Final

from onetape.cli.output import print_line
from onetape.core.candles import SeriesKey
from onetape.core.errors import DataError
from onetape.core.strategy_levels import LevelRow
from onetape.core.timeframes import Timeframe
from onetape.engine.exits import compute_levels
from onetape.exchange.dialects import find_entry_rate_obstacle, get_dialect
from onetape.execution.limit_checks import EntryTerms, MarketView
from onetape.execution.protection import round_down
from onetape.store.candles import read_last_closed
from onetape.store.live_accounts import read_live_account
from onetape.store.market_data import BestPrices, read_last_ticker
from onetape.store.orders import count_sent_orders
from trader.live.book import LiveBook
from trader.live.fee_values import FeeValues
from trader.live.first_day import FIRST_DAY_TEXT, compute_first_day_limit
from trader.risk_guard import RiskGuard
from trader.states import Problem

#: Source of the problem of a limit that was passed.
RISK_PROBLEM: Final = "risk"
#: Pause between two computations of the equity, wall seconds.
LOOK_SECONDS: Final = 5.0
_MINUTE_MS: Final = 60_000


class EntryLimits:
    """The limits of one symbol's entries; losses are those of the whole account."""

    def __init__(self, book: LiveBook) -> None:
        """Initialise; the equity is computed at the first call of `watch_losses`."""
        self._book = book
        self._account = book.context.session.account
        self._guard = RiskGuard(book.context.store, self._account, book.context.settings.risk)
        self._live_account = read_live_account(book.context.store, self._account)
        self._computed_at = -1e9
        self._fees = FeeValues(book)
        self._unpriced = ""
        """A market whose present price the equity needs and lacks, by the last computation."""

    def watch_losses(self, now_ms: int) -> None:
        """Compute the losses of the account every `LOOK_SECONDS`, and report a limit passed.

        Args:
            now_ms: Market time, epoch milliseconds.

        Raises:
            StoreError: the file cannot be read or written.
        """
        if time.monotonic() - self._computed_at < LOOK_SECONDS:
            return
        self._computed_at = time.monotonic()
        equity = self._compute_equity()
        orders = count_sent_orders(self._book.context.store, self._account, now_ms - _MINUTE_MS)
        try:
            state = self._guard.measure(equity, now_ms, orders=orders)
        except DataError as error:
            # Exits and stops do not depend on it: an error of this task would end the program.
            self._guard.state = None
            self._book.states.report(
                RISK_PROBLEM,
                Problem(
                    f"the losses of the account are not known: {error}",
                    "no entries; exits and stops go on",
                    "start the version that has stored them, or restore a backup of the database",
                ),
            )
            return
        if state is None or state.reason is None:
            self._book.states.clear_problem(RISK_PROBLEM)
            return
        self._book.states.report(
            RISK_PROBLEM,
            Problem(
                state.reason,
                "no entries; exits and stops go on",
                f"look at it, then: trader risk --clear --account {self._account}",
            ),
        )

    def _compute_equity(self) -> Decimal | None:
        """Return the equity after all fees, quote currency; None: a present price is unknown."""
        self._unpriced = ""
        equity = self._book.funds.compute_equity(self.find_price)
        fees = self._fees.compute_cost(self._book.funds.other_fees)
        self._unpriced = self._unpriced or self._fees.unpriced
        return None if equity is None or fees is None else equity - fees

    def limit_entry(
        self,
        amount: Decimal,
        price: float,
        free: Decimal,
        now_ms: int,
        *,
        positions: int,
        own: LevelRow | None = None,
    ) -> Decimal | str:
        """Return the allowed amount of an entry, base currency, or a text why it is refused.

        The amount may be smaller than requested; a line is printed then.

        Args:
            amount: Amount by the rules of the account.
            price: Price that the size was computed with, quote currency.
            free: Quote currency that is free at the exchange.
            now_ms: Market time, epoch milliseconds.
            positions: Positions of the account's other symbols, those being opened included.
            own: Levels of the strategy for the entry; None: it gives none.

        Raises:
            StoreError: the file cannot be read or written.
        """
        self._computed_at = -1e9
        self.watch_losses(now_ms)
        if self._unpriced:
            return f"the equity is not known: {self._unpriced} has no price of now"
        book, trading_rules = self._book, self._book.context.market.trading_rules
        most = book.sizes.at_market
        if most is not None and amount > most:
            print_line(
                f"entry made smaller: {most:f} in place of {amount:f}, the largest market order of "
                f"{book.context.key.symbol}"
            )
            amount = most
        paid = Decimal(repr(price))
        held = Decimal(0) if book.position.is_flat else book.position.base
        terms = EntryTerms(
            cost=amount * paid,
            min_cost=max(trading_rules.min_notional, trading_rules.min_amount * paid),
            stop_cost=None,
            free=free,
            position=held * paid,
            positions=positions,
        )
        allowed = self._guard.limit_cost(terms)
        if (first_day := self._compute_first_day_limit(now_ms)) is not None:
            if not first_day:
                return FIRST_DAY_TEXT
            allowed = min(allowed, first_day)
        smaller = (
            amount
            if allowed >= terms.cost
            else round_down(allowed / paid, trading_rules.amount_step)
        )
        obstacle = self._find_rate_obstacle(now_ms) or self._guard.find_entry_obstacle(
            EntryTerms(
                smaller * paid, terms.min_cost, self._compute_stop_proceeds(smaller, price, own),
                free, terms.position, positions,
            ),
            self._read_market_view(now_ms),
        )  # fmt: skip
        if obstacle is not None:
            return obstacle
        if smaller < amount:
            print_line(f"entry made smaller by a limit: {smaller:f} in place of {amount:f}")
        return smaller

    def _compute_first_day_limit(self, now_ms: int) -> Decimal | None:
        settings, quote = self._book.context.settings, self._book.context.market.quote
        return compute_first_day_limit(settings.risk, self._live_account, quote, now_ms)

    def _find_rate_obstacle(self, now_ms: int) -> str | None:
        """Return the exchange's limit on orders that an entry would exceed, as a text, or None."""

        def count_sent_since(seconds: int) -> int:
            return count_sent_orders(
                self._book.context.store, self._account, now_ms - seconds * 1_000
            )

        return find_entry_rate_obstacle(
            get_dialect(self._book.context.key.exchange), count_sent_since
        )

    def _compute_stop_proceeds(
        self, amount: Decimal, price: float, own: LevelRow | None
    ) -> Decimal | None:
        """Return the proceeds of the entry's stop, quote currency; None: the entry has no stop.

        The stop sells the coins that are left after a fee in the coin itself, in whole steps. The
        proceeds are 0 if that amount is below the market's minimum amount. Where the stop of the
        strategy is above the price of the entry, the coins are sold at that price at once.
        """
        context, trading_rules = self._book.context, self._book.context.market.trading_rules
        stop = compute_levels(context.rules.exits, price, price, 0, 0.0, own).stop
        if not 0 < stop < math.inf:
            return None
        held = round_down(
            amount * (1 - Decimal(repr(context.rules.fee_rate))), trading_rules.amount_step
        )
        lowest = Decimal(repr(min(stop, price))) * (1 - self._book.stop_limit)
        return held * lowest if held >= trading_rules.min_amount else Decimal(0)

    def _read_market_view(self, now_ms: int) -> MarketView:
        """Return bid, ask and their age by the newest stored ticker, and the error of the clock."""
        ticker = self._read_ticker(self._book.context.key)
        clock = self._book.exchange.clock
        age = None if ticker is None else clock.wall_seconds(now_ms - ticker.timestamp_ms)
        skew_ms = getattr(clock, "skew_ms", 0)
        return MarketView(
            None if ticker is None or not ticker.bid else Decimal(repr(ticker.bid)),
            None if ticker is None or not ticker.ask else Decimal(repr(ticker.ask)),
            age,
            age,
            skew_ms / 1_000,
        )

    def find_price(self, key: SeriesKey) -> Decimal | None:
        """Return the price of a series by the newest bid or close; None: both are old.

        An unknown price is remembered as the reason why the equity is unknown.

        Another symbol's stream may be down, or its trader: a bid that is older than the newest
        close does not count.
        """
        book, now_ms = self._book, self._book.exchange.now_ms()
        timeframe = Timeframe.parse(key.timeframe)
        ticker, closed = self._read_ticker(key), read_last_closed(book.context.store, key, 1)
        end_ms = timeframe.next(int(closed.timestamp[-1])) * 1_000 if len(closed) else 0
        price, time_ms = float(closed.close[-1]) if len(closed) else 0.0, end_ms
        if ticker is not None and ticker.bid and ticker.timestamp_ms >= end_ms:
            price, time_ms = ticker.bid, ticker.timestamp_ms
        age = book.exchange.clock.wall_seconds(now_ms - time_ms)
        candle = book.exchange.clock.wall_seconds(int(timeframe.average_seconds * 1_000))
        if age > candle + book.context.settings.risk.max_data_age_seconds:
            self._unpriced = key.symbol
            return None
        return Decimal(repr(price))

    def _read_ticker(self, key: SeriesKey) -> BestPrices | None:
        now_ms = self._book.exchange.now_ms()
        return read_last_ticker(self._book.context.store, key.exchange, key.symbol, now_ms=now_ms)
