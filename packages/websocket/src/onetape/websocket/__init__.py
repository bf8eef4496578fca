"""Live candles, tickers, trades and account events of an exchange through CCXT Pro."""

from onetape.exchange.lazy_ccxt import install

install()
