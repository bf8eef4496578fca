"""What the trader can be told, in config/trader.yaml, the environment or by flags."""

from decimal import Decimal
from pathlib import Path

import msgspec

from onetape.cli.settings import ExitSettings, OrderSettings, StrategySettings


class PaperAccountSettings(OrderSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Start balance of a new account; size and costs of its orders."""

    cash: Decimal | None = None
    """Start balance in quote currency; none: 10,000 for a new account, else the stored balance."""


class TraderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to trade, with which strategy and which money."""

    mode: str = "paper"
    """paper: orders are filled by the same rules as in a backtest and reach no exchange."""
    exchange: str = "binance"
    """CCXT exchange id, or `simulator`."""
    symbol: str = "BTC/USDT"
    """Spot symbol as CCXT writes it."""
    timeframe: str = "1h"
    """CCXT timeframe."""
    strategy: StrategySettings = StrategySettings()
    account: PaperAccountSettings = PaperAccountSettings()
    exits: ExitSettings = ExitSettings()
    account_name: str | None = None
    """Name of the paper account; none: `paper EXCHANGE SYMBOL TIMEFRAME`."""
    stale_after_seconds: float = 30.0
    """No message for this long: connect anew, and enter no position meanwhile."""
    max_signal_age_seconds: float = 60.0
    """A signal older than this, on the wall clock, becomes no order any more."""
    ticker_days: float = 7.0
    """How long tickers are kept."""
    db: Path | None = None
    """Database file; none: data/onetape.db, or data/simulator.db for the simulator."""
    simulator_url: str | None = None
    """Where a simulator listens; none: its usual address, or one inside this program."""
