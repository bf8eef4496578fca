"""What the names of candle files say."""

from pathlib import Path, PurePosixPath

import pytest

from backfiller.formats.names import Named, named
from onetape.core.errors import UsageError


@pytest.mark.parametrize(
    ("name", "exchange", "symbol", "timeframe"),
    [
        ("BTCUSDT-1h-2025-01.zip", "binance", "BTC/USDT", "1h"),
        ("BTCUSDT-1m-2025-01-31.csv", "binance", "BTC/USDT", "1m"),
        ("ETHBTC-1mo-2024-12.zip", "binance", "ETH/BTC", "1M"),
        ("BTCFDUSD-1s-2024-12.zip", "binance", "BTC/FDUSD", "1s"),
        ("1INCHBUSD-5m-2021-01.zip", "binance", "1INCH/BUSD", "5m"),
        ("XBTUSD_60.csv", "kraken", "BTC/USD", "1h"),
        ("XDGUSD_1440.csv", "kraken", "DOGE/USD", "1d"),
        ("ETHXBT_1.csv", "kraken", "ETH/BTC", "1m"),
        ("XTZUSD_5.csv", "kraken", "XTZ/USD", "5m"),
        ("USDTZUSD_240.csv", "kraken", "USDT/USD", "4h"),
        ("XXBTZUSD_720.csv", "kraken", "BTC/USD", "12h"),
        ("DOTUSDT_15.csv", "kraken", "DOT/USDT", "15m"),
        ("BTC_USDT-1h.feather", None, "BTC/USDT", "1h"),
        ("user_data/data/binance/BTC_USDT-5m.json.gz", "binance", "BTC/USDT", "5m"),
        ("data/kraken/ETH_EUR-1Mo.parquet", "kraken", "ETH/EUR", "1M"),
        ("bittrex_ADA-BTC_5m_20180110.csv.gz", "bittrex", "ADA/BTC", "5m"),
        ("ADA-BTC_5m.csv", None, "ADA/BTC", "5m"),
        ("binance_币安人生-USDT_1h.csv", "binance", "币安人生/USDT", "1h"),
        ("币安人生_USDT-1h.feather", None, "币安人生/USDT", "1h"),
        ("币安人生USDT-1h-2025-10.zip", "binance", "币安人生/USDT", "1h"),
        ("0GUSDT-1h-2025-10.zip", "binance", "0G/USDT", "1h"),
        ("candles.csv", None, None, None),
        ("XBTUSD_10080.csv", None, None, None),
    ],
)
def test_a_name_says_whose_candles_it_holds(
    name: str, exchange: str | None, symbol: str | None, timeframe: str | None
) -> None:
    found = named(Path(name))
    assert (found.exchange, found.symbol, found.timeframe) == (exchange, symbol, timeframe)


def test_a_market_without_a_known_quote_currency_stays_unknown() -> None:
    assert named(PurePosixPath("ABCXYZ-1h-2025-01.zip")) == Named("binance", None, "1h", True)


@pytest.mark.parametrize(
    "name", ["BTC_USDT_USDT-1h-futures.feather", "BTC_USDT_USDT-8h-funding_rate.feather"]
)
def test_files_of_futures_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="trades spot only"):
        named(Path(name))
