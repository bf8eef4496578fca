"""What people type and read: symbols, near misses, counts and prices."""

import pytest

from onetape.core.errors import UsageError
from onetape.core.symbols import base_and_quote, spot_symbol
from onetape.core.words import amount_text, counted, did_you_mean, price_text


@pytest.mark.parametrize("text", ["BTC/USDT", "btc/usdt", "btc-usdt", " BTC/USDT "])
def test_a_symbol_may_be_typed_in_several_ways(text: str) -> None:
    assert spot_symbol(text) == "BTC/USDT"


def test_a_derivative_is_refused_with_its_spot_symbol() -> None:
    with pytest.raises(UsageError, match=r"derivative.*did you mean 'BTC/USDT'\?"):
        spot_symbol("BTC/USDT:USDT")


@pytest.mark.parametrize(
    "text", ["", "BTC", "BTCUSDT", "BTC/", "/USDT", "BTC/USDT/X", "../x", "'; DROP", "BTC/USDT\n;"]
)
def test_what_is_no_symbol_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="was not understood"):
        spot_symbol(text)


def test_a_symbol_has_a_base_and_a_quote() -> None:
    assert base_and_quote("BTC/USDT") == ("BTC", "USDT")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("binanse", "; did you mean 'binance'?"),
        ("BINANCE", "; did you mean 'binance'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_a_near_miss_is_answered_with_the_known_name(typed: str, hint: str) -> None:
    assert did_you_mean(typed, ["binance", "kraken"]) == hint
    assert did_you_mean(typed, iter(["binance", "kraken"])) == hint


def test_one_is_singular_and_the_rest_plural() -> None:
    assert counted(1, "candle") == "1 candle"
    assert counted(0, "candle") == "0 candles"
    assert counted(4_320, "candle") == "4,320 candles"


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (61_240.4, "61,240"),
        (3_412.5, "3,412.50"),
        (8.12e-06, "0.00000812"),
        (1e-10, "0.000000000100"),
    ],
)
def test_a_price_shows_the_digits_that_matter(price: float, text: str) -> None:
    assert price_text(price) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1_234.5, "1,234.500000"), (0.25, "0.250000"), (1e-9, "0.000000001000"), (0.0, "0.000000")],
)
def test_an_amount_however_small_is_not_written_as_nothing(amount: float, text: str) -> None:
    assert amount_text(amount) == text
