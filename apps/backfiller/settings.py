"""What the backfiller can be told, in config/backfiller.yaml, the environment or by flags."""

from pathlib import Path
from typing import Annotated

import msgspec


class BackfillerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to fetch, from where, into which file."""

    exchange: list[str] = msgspec.field(default_factory=lambda: ["binance"])
    """CCXT exchange ids, or `simulator` for the offline exchange."""
    symbol: list[str] = msgspec.field(default_factory=lambda: ["BTC/USDT"])
    """Spot symbols as CCXT writes them."""
    timeframe: list[str] = msgspec.field(default_factory=lambda: ["1h"])
    """CCXT timeframes."""
    from_: str = msgspec.field(default="2023-01-01", name="from")
    """First day or moment, UTC."""
    to: str | None = None
    """Stop before this day or moment, UTC (exclusive); none: the newest closed candle."""
    db: Path | None = None
    """Database file; none: data/onetape.db, or data/simulator.db for the simulator."""
    simulator_url: str | None = None
    """Where a simulator listens; none: its usual address, or one inside this program."""
    patience_seconds: Annotated[float, msgspec.Meta(ge=0)] = 600.0
    """How long a read may keep failing once its exchange has answered."""
    every: str | None = None
    """Stay, and run again at each start of this interval, UTC; none: run once."""
