"""Texts of symbols, near misses and counts in messages."""

import pytest

from onetape.core.errors import UsageError
from onetape.core.message_text import format_count, suggest_name
from onetape.core.symbols import parse_spot_symbol, split_symbol


@pytest.mark.parametrize("text", ["BTC/USDT", "btc/usdt", "btc-usdt", " BTC/USDT "])
def test_a_symbol_may_be_written_in_several_ways(text: str) -> None:
    assert parse_spot_symbol(text) == "BTC/USDT"


def test_a_derivative_is_refused_with_its_spot_symbol() -> None:
    with pytest.raises(UsageError, match=r"derivative.*did you mean 'BTC/USDT'\?"):
        parse_spot_symbol("BTC/USDT:USDT")


@pytest.mark.parametrize(
    "text", ["", "BTC", "BTCUSDT", "BTC/", "/USDT", "BTC/USDT/X", "../x", "'; DROP", "BTC/USDT\n;"]
)
def test_an_invalid_symbol_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="was not understood"):
        parse_spot_symbol(text)


def test_a_symbol_has_a_base_and_a_quote() -> None:
    assert split_symbol("BTC/USDT") == ("BTC", "USDT")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("binanse", "; did you mean 'binance'?"),
        ("BINANCE", "; did you mean 'binance'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_a_near_miss_gives_the_known_name(typed: str, hint: str) -> None:
    assert suggest_name(typed, ["binance", "kraken"]) == hint
    assert suggest_name(typed, iter(["binance", "kraken"])) == hint


def test_a_count_of_one_is_singular_and_other_counts_plural() -> None:
    assert format_count(1, "candle") == "1 candle"
    assert format_count(0, "candle") == "0 candles"
    assert format_count(4_320, "candle") == "4,320 candles"
