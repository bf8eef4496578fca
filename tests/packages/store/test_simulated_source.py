"""A database of simulated candles has one seed, and either invented or recorded candles."""

from collections.abc import Mapping

import pytest

from onetape.core.candles import SeriesKey
from onetape.core.errors import StoreError
from onetape.core.simulated import CandleRecording, SimulatedSource
from onetape.store.database import Store
from onetape.store.simulated_source import ensure_simulated_source, read_origin

KEY = SeriesKey("simulator", "BTC/USDT", "1h")
BTC = {"BTC/USDT": CandleRecording("1h", "aa")}
OTHER_BTC = {"BTC/USDT": CandleRecording("1h", "bb")}
ETH = {"ETH/USDT": CandleRecording("1d", "cc")}


def read_rows(store: Store) -> object:
    with store.read() as connection:
        return (
            connection.execute("SELECT * FROM store_kind").fetchall(),
            connection.execute("SELECT * FROM recordings").fetchall(),
        )


def test_a_file_without_candles_states_no_origin(store: Store) -> None:
    assert read_origin(store, KEY) == "unknown"
    assert read_origin(store, SeriesKey("binance", "BTC/USDT", "1h")) is None


@pytest.mark.parametrize(("recordings", "origin"), [({}, "invented"), (BTC, "recorded")])
def test_a_file_keeps_the_origin_of_its_first_simulator(
    store: Store, recordings: Mapping[str, CandleRecording], origin: str
) -> None:
    ensure_simulated_source(store, SimulatedSource(7, recordings))
    before = read_rows(store)
    ensure_simulated_source(store, SimulatedSource(7, recordings))
    ensure_simulated_source(store, SimulatedSource(7, None))
    assert read_origin(store, KEY) == origin
    assert read_rows(store) == before


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (SimulatedSource(7, {}), SimulatedSource(8, {}), "seed 7.*has seed 8.*--seed 7"),
        (SimulatedSource(7, {}), SimulatedSource(7, BTC), "an invented market.*without --data"),
        (SimulatedSource(7, BTC), SimulatedSource(7, {}), "recorded candles.*the same --data"),
        (SimulatedSource(7, BTC), SimulatedSource(8, BTC), "seed 7"),
        (SimulatedSource(7, BTC), SimulatedSource(7, OTHER_BTC), "other recorded candles of BTC"),
        (SimulatedSource(7, BTC), SimulatedSource(7, {**ETH, **OTHER_BTC}), "candles of BTC/USDT"),
    ],
)
def test_another_source_is_refused_and_changes_nothing(
    store: Store, first: SimulatedSource, second: SimulatedSource, words: str
) -> None:
    ensure_simulated_source(store, first)
    before = read_rows(store)
    with pytest.raises(StoreError, match=rf"{words}.*--db"):
        ensure_simulated_source(store, second)
    assert read_rows(store) == before


def test_recorded_candles_of_another_symbol_are_added(store: Store) -> None:
    for recordings in (BTC, ETH):
        ensure_simulated_source(store, SimulatedSource(7, recordings))
    assert read_origin(store, KEY) == "recorded"
    assert read_origin(store, SeriesKey("simulator", "ETH/USDT", "1h")) == "inside recorded"
    with pytest.raises(StoreError, match="other recorded candles of BTC"):
        ensure_simulated_source(store, SimulatedSource(7, OTHER_BTC))


def test_a_file_of_an_earlier_version_takes_the_origin_of_the_next_simulator(store: Store) -> None:
    ensure_simulated_source(store, SimulatedSource(7, None))
    assert read_origin(store, KEY) == "unknown"
    ensure_simulated_source(store, SimulatedSource(7, BTC))
    assert read_origin(store, KEY) == "recorded"
