"""WebSocketManager: live candles and tickers through CCXT Pro."""

from onetape.exchange.lazy_ccxt import install

install()
