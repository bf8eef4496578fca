"""What the names of candle files state."""

from pathlib import Path, PurePosixPath

import pytest

from backfiller.formats.file_names import NameFacts, parse_file_name


@pytest.mark.parametrize(
    ("name", "exchange", "symbol", "timeframe"),
    [
        ("BTCUSDT-1h-2025-01.zip", "binance", "BTC/USDT", "1h"),
        ("BTCUSDT-1m-2025-01-31.csv", "binance", "BTC/USDT", "1m"),
        ("ETHBTC-1mo-2024-12.zip", "binance", "ETH/BTC", "1M"),
        ("BTCFDUSD-1s-2024-12.zip", "binance", "BTC/FDUSD", "1s"),
        ("1INCHBUSD-5m-2021-01.zip", "binance", "1INCH/BUSD", "5m"),
        ("XBTUSD_60.csv", "kraken", "XBT/USD", "1h"),
        ("XDGUSD_1440.csv", "kraken", "XDG/USD", "1d"),
        ("ETHXBT_1.csv", "kraken", "ETH/XBT", "1m"),
        ("XTZUSD_5.csv", "kraken", "XTZ/USD", "5m"),
        ("USDTZUSD_240.csv", "kraken", "USDT/USD", "4h"),
        ("XXBTZUSD_720.csv", "kraken", "XBT/USD", "12h"),
        ("DOTUSDT_15.csv", "kraken", "DOT/USDT", "15m"),
        ("ETH2SETH_60.csv", "kraken", "ETH2.S/ETH", "1h"),
        ("BTC_USDT-1h.feather", None, "BTC/USDT", "1h"),
        ("user_data/data/binance/BTC_USDT-5m.json.gz", "binance", "BTC/USDT", "5m"),
        ("data/kraken/ETH_EUR-1Mo.parquet", "kraken", "ETH/EUR", "1M"),
        ("bittrex_ADA-BTC_5m_20180110.csv.gz", "bittrex", "ADA/BTC", "5m"),
        ("ADA-BTC_5m.csv", None, "ADA/BTC", "5m"),
        ("binance_币安人生-USDT_1h.csv", "binance", "币安人生/USDT", "1h"),
        ("币安人生_USDT-1h.feather", None, "币安人生/USDT", "1h"),
        ("币安人生USDT-1h-2025-10.zip", "binance", "币安人生/USDT", "1h"),
        ("0GUSDT-1h-2025-10.zip", "binance", "0G/USDT", "1h"),
        ("Binance_BTCUSDT_1h.csv", "binance", "BTC/USDT", "1h"),
        ("Bitstamp_BTCUSD_2024_minute.csv", "bitstamp", "BTC/USD", "1m"),
        ("Kraken_ETHUSD_d.csv", "kraken", "ETH/USD", "1d"),
        ("BINANCE_BTCUSDT, 60.csv", "binance", "BTC/USDT", "1h"),
        ("COINBASE_ETHUSD, 1D_3f2a1.csv", "coinbase", "ETH/USD", "1d"),
        ("KRAKEN_XBTUSD, 60.csv", "kraken", "XBT/USD", "1h"),
        ("BINANCE_BTCTUSD, 60.csv", "binance", "BTC/TUSD", "1h"),
        ("candles.csv", None, None, None),
        ("XBTUSD_10080.csv", None, None, None),
    ],
)
def test_a_file_name_states_exchange_symbol_and_timeframe_of_its_candles(
    name: str, exchange: str | None, symbol: str | None, timeframe: str | None
) -> None:
    found = parse_file_name(Path(name))
    assert (found.exchange, found.symbol, found.timeframe) == (exchange, symbol, timeframe)


def test_a_market_without_a_known_quote_currency_stays_unknown() -> None:
    assert parse_file_name(PurePosixPath("ABCXYZ-1h-2025-01.zip")) == NameFacts(
        "binance", None, "1h", is_guess=True, codes_of="binance"
    )


@pytest.mark.parametrize(
    ("name", "either"),
    [
        ("Coinbase_BATUSD_1h.csv", ("BAT/USD", "BA/TUSD")),
        ("BITSTAMP_USDTUSD, 60.csv", ("USDT/USD", "USD/TUSD")),
        ("COINBASE_SHIBUSD, 60.csv", ("SHIB/USD", "SHI/BUSD")),
    ],
)
def test_a_pair_with_two_possible_quote_currencies_gets_no_symbol(
    name: str, either: tuple[str, ...]
) -> None:
    found = parse_file_name(PurePosixPath(name))
    assert (found.symbol, found.possible_symbols) == (None, either)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("BTC_USDT_USDT-1h-futures.feather", "futures"),
        ("BTC_USDT_USDT-8h-funding_rate.feather", "futures"),
        ("BTC_USDT_USDT-8h-mark.feather", "mark prices"),
        ("user_data/data/binance/futures/x.feather", "futures"),
        ("data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-03.zip", "futures"),
        ("data/futures/cm/daily/klines/x.csv", "futures"),
        ("monthly/markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-03.zip", "mark prices"),
        ("monthly/indexPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-03.zip", "index prices"),
        ("monthly/premiumIndexKlines/BTCUSDT/1h/BTCUSDT-1h-2024-03.zip", "premium indexes"),
        ("BTCUSD_PERP-1h-2024-03.zip", "futures"),
        ("BTCUSDT_240329-1h-2024-03.csv", "futures"),
        ("BINANCE_BTCUSDT.P, 60.csv", "futures"),
        ("BINANCE_BTCUSDTPERP, 60.csv", "futures"),
        ("CME_BTC1!, 60.csv", "futures"),
        ("BITMEX_XBTUSD, 60.csv", "futures"),
        ("DERIBIT_ETHUSD, 1D.csv", "futures"),
        ("okx_BTC-USDT-SWAP_1h.csv", "futures"),
        ("BTCUSDT_Binance_futures_UM_hour.csv", "futures"),
        ("BTC-PERPETUAL_60.csv", "futures"),
    ],
)
def test_files_without_spot_candles_are_recognised_by_their_name_and_folders(
    path: str, kind: str
) -> None:
    assert parse_file_name(PurePosixPath(path)).other_kind == kind


@pytest.mark.parametrize("path", ["futures/binance_BTC-USDT_1h.csv", "spot/BTCUSDT-1h-2024-03.zip"])
def test_spot_candles_in_any_folder_stay_spot(path: str) -> None:
    assert parse_file_name(PurePosixPath(path)).other_kind is None
