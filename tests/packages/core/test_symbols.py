"""Symbols of all currencies that exchanges list, and of nothing else."""

import pytest

from onetape.core.errors import UsageError
from onetape.core.symbols import parse_spot_symbol


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("btc-usdt", "BTC/USDT"),
        ("币安人生/usdt", "币安人生/USDT"),
        ("1inch/usdt", "1INCH/USDT"),
        ("0G-USDT", "0G/USDT"),
        ("1000/USDT", "1000/USDT"),
        ("$WEN/USDT", "$WEN/USDT"),
        ("ETH2.S/ETH", "ETH2.S/ETH"),
        ("E\u0301/USDT", "\u00c9/USDT"),
    ],
)
def test_every_listed_currency_is_recognised(text: str, symbol: str) -> None:
    assert parse_spot_symbol(text) == symbol


@pytest.mark.parametrize(
    "text",
    ["BTCUSDT", "A/B/C", "A B/USDT", "/USDT", "BTC/", "\x1b[2J/USDT", "A\u202e/B", "A,B/C"],
)
def test_an_invalid_symbol_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="was not understood"):
        parse_spot_symbol(text)
