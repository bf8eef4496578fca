"""CCXT REST: the one place where CCXT is called and its exceptions translated."""

from onetape.exchange.lazy_ccxt import install

install()
