"""What the backtester can be told, in config/backtester.yaml, the environment or by flags."""

from pathlib import Path

import msgspec

from onetape.cli.settings import AccountSettings, ExitSettings, StrategySettings


class BacktesterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to replay, with which strategy and which money."""

    exchange: str = "binance"
    """CCXT exchange id, or `simulator`."""
    symbol: str = "BTC/USDT"
    """Spot symbol as CCXT writes it; several, separated by commas, share one account."""
    max_open_trades: int | None = None
    """Positions at a time, of several symbols; none: as many as symbols."""
    timeframe: str = "1h"
    """CCXT timeframe."""
    from_: str | None = msgspec.field(default=None, name="from")
    """First day or moment, UTC; none: the first stored candle, of all symbols."""
    to: str | None = None
    """Stop before this day or moment, UTC (exclusive); none: after the newest of all symbols."""
    strategy: StrategySettings = StrategySettings()
    account: AccountSettings = AccountSettings()
    exits: ExitSettings = ExitSettings()
    detail_timeframe: str | None = None
    """Stored timeframe that is asked how a candle met stop or target; divides `timeframe`."""
    market: str = "exchange"
    """exchange: its price and amount steps and minimums; ideal: none of them."""
    allow_gaps: bool = False
    """Whether to go on over missing candles that nobody can explain."""
    check: bool = True
    """Whether a few bars are looked at for look-ahead and a short warm-up."""
    db: Path | None = None
    """Database file; none: data/onetape.db, or data/simulator.db for the simulator."""
    report: Path | None = None
    """HTML file; none: one in the run's folder."""
