"""What the parts of a symbol's session share: market, strategy, money, database and settings."""

from decimal import Decimal

from msgspec import Struct

from onetape.core.candles import Candles, SeriesKey
from onetape.core.digits import Digits
from onetape.core.market_digits import choose_market_digits
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Session
from onetape.engine import AccountConfig
from onetape.exchange.rest import MarketInfo
from onetape.store.candles import read_last_closed
from onetape.store.database import Store
from onetape.strategies import InputSeries
from onetape.strategies.lookback_window import MIN_CANDLES, compute_window_size
from trader.brokers.live import LiveBroker
from trader.evaluator.messages import LoadedStrategy
from trader.evaluator.results import StrategyEvaluator
from trader.live.times import LiveTimes
from trader.settings import TraderSettings
from trader.states import Problem


class SessionContext(Struct, frozen=True):
    """Market, strategy, account and file of one symbol; only a reload of settings changes it."""

    settings: TraderSettings
    key: SeriesKey
    """The series that is traded: exchange, symbol, timeframe."""
    timeframe: Timeframe
    market: MarketInfo
    """Currencies, trading rules and state of the market."""
    strategy: LoadedStrategy
    """Name, parameters and lookback of the strategy, without its code."""
    evaluator: StrategyEvaluator
    """Evaluator that runs the strategy's code; code of a user runs in another process."""
    rules: AccountConfig
    """Costs, order sizes and exits of the account in this market."""
    start_balance: Decimal
    """Money of the account at its start, quote currency; `rules.cash` is the nearest float."""
    store: Store
    """The open database; used in the trading thread only."""
    session: Session
    """Record of the session, as it is stored."""
    broker: LiveBroker | None = None
    """Broker that sends real orders; None: on paper."""
    exchange_account: str = ""
    """Name of the account at the exchange, with the exchange's own id; empty: on paper."""
    tag: str = ""
    """Prefix of the client order ids of live orders, one for each database; empty: on paper."""
    times: LiveTimes = LiveTimes()
    """Time limits of live orders."""
    entry_bans: tuple[Problem, ...] = ()
    """Problems that forbid entries until the trader is restarted."""
    prefix: str = ""
    """Prefix of each line that is printed for the symbol; empty for a single symbol."""

    @property
    def digits(self) -> Digits:
        """Return the decimals that prices, amounts and money are printed with."""
        return self._choose_digits(read_last_closed(self.store, self.key, MIN_CANDLES))

    def get_digits(self, candles: Candles) -> Digits:
        """Return the decimals that prices, amounts and money are printed with, by given candles.

        Args:
            candles: The newest closed candles, oldest first; too few of them: the stored
                candles are read.
        """
        if len(candles) < MIN_CANDLES:
            return self.digits
        return self._choose_digits(candles[-MIN_CANDLES:])

    def _choose_digits(self, candles: Candles) -> Digits:
        return choose_market_digits(
            self.market.trading_rules, candles, self.market.quote, self.rules.cash
        )

    @property
    def higher_timeframes(self) -> tuple[InputSeries, ...]:
        """Return the higher timeframes of the traded symbol that the strategy reads."""
        return tuple(one for one in self.strategy.inputs if not one.is_other_market)

    @property
    def other_markets(self) -> tuple[InputSeries, ...]:
        """Return the series of other markets that the strategy reads."""
        return tuple(one for one in self.strategy.inputs if one.is_other_market)

    @property
    def window(self) -> int:
        """Return the number of closed candles in the strategy's input."""
        return compute_window_size(self.strategy.lookback)

    @property
    def history(self) -> int:
        """Return the number of closed candles needed to decide and to size an entry."""
        return compute_window_size(self.window, self.settings.account.closes_for_size)
