"""A ban that one process met keeps all processes on the file quiet."""

from pathlib import Path
from typing import Any

from onetape.store.database import Store, open_store
from onetape.store.silences import silence, silent_until_ms


def test_nobody_is_silent_before_a_ban(store: Store) -> None:
    assert silent_until_ms(store, "binance") is None


def test_another_connection_sees_the_silence(store: Store, path: Path) -> None:
    silence(store, "binance", until_ms=5_000, reason="418")
    with open_store(path, create=False) as other:
        assert silent_until_ms(other, "binance") == 5_000
        assert silent_until_ms(other, "kraken") is None


def test_the_longest_silence_stays_with_its_reason(store: Store, foreign: Any) -> None:
    silence(store, "binance", until_ms=5_000, reason="418 until 5 s")
    silence(store, "binance", until_ms=3_000, reason="429, 3 s")
    assert silent_until_ms(store, "binance") == 5_000
    silence(store, "binance", until_ms=9_000, reason="418 until 9 s")
    rows = foreign(store.path, "SELECT exchange, until_ms, reason FROM silences")
    assert rows == [[["binance", 9_000, "418 until 9 s"]]]
