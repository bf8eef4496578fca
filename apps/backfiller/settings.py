"""Settings of the backfiller, from config/backfiller.yaml, the environment or flags."""

from pathlib import Path
from typing import Annotated

import msgspec

from onetape.cli.common_settings import DATABASE, EXCHANGE, SIMULATOR_URL, SYMBOL, TIMEFRAME
from onetape.core.defaults import DEFAULT_EXCHANGE, DEFAULT_SYMBOL, DEFAULT_TIMEFRAME
from onetape.core.setting import DeclaredStruct, Setting


class BackfillerSettings(DeclaredStruct, frozen=True, kw_only=True):
    """Settings of the backfiller: series, range and database file."""

    symbol: Annotated[list[str], SYMBOL._replace(file_example="[BTC/USDT, ETH/USDT]")] = (
        msgspec.field(default_factory=lambda: [DEFAULT_SYMBOL])
    )
    exchange: Annotated[list[str], EXCHANGE._replace(file_example="[binance, kraken]")] = (
        msgspec.field(default_factory=lambda: [DEFAULT_EXCHANGE])
    )
    timeframe: Annotated[list[str], TIMEFRAME._replace(short=("-t",), file_example="[1m, 1h]")] = (
        msgspec.field(default_factory=lambda: [DEFAULT_TIMEFRAME])
    )
    from_: Annotated[str, Setting("First day, UTC.", flag="--from", metavar="YYYY-MM-DD")] = (
        msgspec.field(default="2023-01-01", name="from")
    )
    to: Annotated[
        str | None,
        Setting(
            "Stop before this day, UTC (exclusive).",
            flag="--to",
            metavar="YYYY-MM-DD",
            empty="the newest closed candle",
        ),
    ] = None
    every: Annotated[
        str | None,
        Setting(
            "Keep running, and fetch again at each start of this interval, UTC: 15m, 1h, 1d.",
            flag="--every",
            metavar="TIME",
            empty="run once",
        ),
    ] = None
    retry_seconds: Annotated[
        float,
        Setting(
            "How long a failing request is repeated if the exchange has responded before.",
            flag="--retry-for",
            metavar="SECONDS",
            ge=0,
        ),
    ] = 600.0
    db: Annotated[Path | None, DATABASE] = None
    simulator_url: Annotated[str | None, SIMULATOR_URL] = None
