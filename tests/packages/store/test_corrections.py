"""A corrected candle marks decisions of every account and removes candles built from it."""

import pytest
from msgspec.structs import replace

from onetape.core.candles import Candle, SeriesKey
from onetape.core.trading import Decision, Session
from onetape.store.candles import insert_closed_rows, read_candle_at
from onetape.store.corrections import accept_corrections
from onetape.store.database import Store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import insert_decision
from onetape.store.marked_decisions import INFORMATIVE
from onetape.store.revisions import accept, accept_outranking, read_revisions
from onetape.store.sessions import start_session
from onetape.store.stream_closes import store_marked

HOUR = 3_600
OPENED = 1_000 * HOUR
KEY = SeriesKey("binance", "BTC/USDT", "1h")


def correct(store: Store) -> None:
    """Let REST correct the candle that the stream's mark has closed."""
    seen_ms = (OPENED + 2 * HOUR) * 1_000
    right = Candle(OPENED, 100.0, 110.0, 90.0, 106.0, 12.5)
    insert_closed_rows(store, KEY, [right], source="rest", seen_ms=seen_ms)
    (found,) = accept_corrections(store, KEY, window=10, corrected_ms=seen_ms)
    assert found.after == right


def mark_wrong_candle(store: Store) -> None:
    """Close a candle by a mark with a wrong value."""
    closed_ms = (OPENED + HOUR) * 1_000
    store_marked(store, KEY, Candle(OPENED, 100.0, 110.0, 90.0, 105.0, 12.5), closed_ms=closed_ms)


def decide(
    store: Store, account: str, key: SeriesKey, *opens: int, informative: tuple[str, ...] = ()
) -> None:
    """Store a session of an account on a series, with a HOLD on each of some candles."""
    name, rules = f"{account} {key.timeframe}", {INFORMATIVE: informative}
    token = acquire_lease(store, name, "1@host", now_ms=0, seconds=60.0)
    lease = Fence(name, token)
    session = Session(name, "trader", "paper", account, *key.names, "rsi", {}, "d1", 1, rules)
    start_session(store, session, lease)
    for opened in opens:
        one = Decision(f"{name} {opened}", name, opened, 0, {}, {}, "HOLD", opened * 1_000)
        insert_decision(store, one, None, lease)


def read_corrected(store: Store) -> set[str]:
    with store.read() as connection:
        rows = connection.execute("SELECT decision FROM decisions WHERE corrected_ms IS NOT NULL")
        return {decision for (decision,) in rows}


@pytest.mark.parametrize("names", [True, False], ids=["by number", "all that rank higher"])
def test_a_revision_that_a_person_accepts_marks_the_decisions_on_its_candle(
    store: Store, *, names: bool
) -> None:
    mark_wrong_candle(store)
    decide(store, "first", KEY, OPENED - HOUR, OPENED, OPENED + HOUR)
    right = Candle(OPENED, 100.0, 110.0, 90.0, 106.0, 12.5)
    accepted_ms = (OPENED + 3 * HOUR) * 1_000
    insert_closed_rows(store, KEY, [right], source="rest", seen_ms=accepted_ms)
    (revision,) = read_revisions(store)
    accept_revision = accept if names else accept_outranking
    assert accept_revision(store, [revision.id], accepted_ms=accepted_ms) == 1
    assert read_corrected(store) == {f"first 1h {OPENED}", f"first 1h {OPENED + HOUR}"}


def test_a_correction_marks_the_decisions_of_every_account_on_the_series(store: Store) -> None:
    mark_wrong_candle(store)
    decide(store, "first", KEY, OPENED - HOUR, OPENED)
    decide(store, "other", KEY, OPENED - HOUR, OPENED, OPENED + 9 * HOUR, OPENED + 10 * HOUR)
    decide(store, "first", replace(KEY, symbol="ETH/USDT", timeframe="30m"), OPENED)
    correct(store)
    assert read_corrected(store) == {
        f"first 1h {OPENED}",
        f"other 1h {OPENED}",
        f"other 1h {OPENED + 9 * HOUR}",
    }


def test_a_correction_marks_decisions_that_may_read_the_series_as_a_higher_timeframe(
    store: Store,
) -> None:
    mark_wrong_candle(store)
    last_minute = OPENED + HOUR - 60
    decide(store, "minutes", replace(KEY, timeframe="1m"), last_minute - 60, last_minute)
    decide(store, "days", replace(KEY, timeframe="1d"), OPENED)
    correct(store)
    assert read_corrected(store) == {f"minutes 1m {last_minute}"}


def test_a_correction_marks_decisions_of_other_symbols_that_read_the_market(store: Store) -> None:
    mark_wrong_candle(store)
    other = replace(KEY, symbol="ETH/USDT", timeframe="30m")
    decide(store, "reads", other, OPENED, OPENED + HOUR // 2, informative=("BTC/USDT",))
    decide(store, "reads another", other, OPENED + HOUR // 2, informative=("SOL/USDT",))
    correct(store)
    # The candle was first known at the close of the second half hour.
    assert read_corrected(store) == {f"reads 30m {OPENED + HOUR // 2}"}


def test_a_correction_removes_the_candles_that_any_strategy_has_built_from_it(store: Store) -> None:
    mark_wrong_candle(store)
    day = OPENED // (24 * HOUR) * 24 * HOUR
    built = {"4h": OPENED // (4 * HOUR) * 4 * HOUR, "1d": day, "1m": OPENED}
    for name, opened in built.items():
        row = Candle(opened, 100.0, 110.0, 90.0, 105.0, 50.0)
        key = replace(KEY, timeframe=name)
        insert_closed_rows(store, key, [row], source="resample", seen_ms=(day + 48 * HOUR) * 1_000)
    with store.write() as connection:
        # Of a program that is not ours: no timeframe of any strategy.
        connection.execute(
            "INSERT INTO ohlcv_data (exchange, symbol, timeframe, timestamp, open, high, low, "
            "close, volume) VALUES ('binance', 'BTC/USDT', 'daily', 0, 1, 1, 1, 1, 1)"
        )
    correct(store)
    left = {
        name
        for name, at in built.items()
        if read_candle_at(store, replace(KEY, timeframe=name), at)
    }
    assert left == {"1m"}
