"""The source of the simulated candles in a database file: one seed or one set of recordings.

Each seed and each recording is a separate market. Candles of two markets in one file would look
like one market, so a second source is refused.
"""

from collections.abc import Mapping

from onetape.core.candles import SeriesKey
from onetape.core.errors import StoreOfOtherMarket
from onetape.core.simulated import CandleRecording, Origin, SimulatedSource, get_origin
from onetape.core.symbols import SIMULATOR_ID
from onetape.store.connection import DatabaseConnection
from onetape.store.database import Store


def ensure_simulated_source(store: Store, source: SimulatedSource) -> None:
    """Store the source of a simulated file at the first call; refuse any other source later.

    The recording of a symbol that is not in the file yet is added.

    Args:
        store: A database that holds no real candles.
        source: Source of the simulator whose candles are about to be stored.

    Raises:
        StoreOfOtherMarket: the file belongs to another source.
        StoreError: the file cannot be written.
    """
    with store.read() as connection:
        if _find_source_conflict(store, connection, source) is None and _is_stored(
            connection, source
        ):
            return
    with store.write() as connection:
        connection.execute(
            "INSERT INTO store_kind (only_row, simulated, seed) VALUES (1, 1, ?) "
            "ON CONFLICT (only_row) DO UPDATE SET seed = ifnull(seed, excluded.seed)",
            (str(source.seed),),
        )
        refusal = _find_source_conflict(store, connection, source)
        if refusal is not None:
            raise StoreOfOtherMarket(refusal)
        if source.recordings is None:
            return
        kind = "recorded" if source.recordings else "invented"
        connection.execute("UPDATE store_kind SET origin = ifnull(origin, ?)", (kind,))
        connection.executemany(
            "INSERT OR IGNORE INTO recordings (symbol, timeframe, digest) VALUES (?, ?, ?)",
            [
                (symbol, recording.timeframe, recording.digest)
                for symbol, recording in source.recordings.items()
            ],
        )


def read_origin(store: Store, key: SeriesKey) -> Origin | None:
    """Return the origin of the candles of a simulated series; None: a series of a real exchange."""
    if key.exchange != SIMULATOR_ID:
        return None
    with store.read() as connection:
        recordings = _read_recordings(connection)
    return get_origin(recordings, key.symbol, key.timeframe)


def _find_source_conflict(
    store: Store, connection: DatabaseConnection, source: SimulatedSource
) -> str | None:
    """Return the reason why candles of a source may not be in a file; None: they may."""
    other = "or choose another file with --db"
    seed = connection.execute("SELECT seed FROM store_kind").get
    if seed is not None and seed != str(source.seed):
        return (
            f"{store.path} holds the market of the simulator's seed {seed}, this simulator "
            f"has seed {source.seed}; start it with --seed {seed}, {other}"
        )
    stored, found = _read_recordings(connection), source.recordings
    if stored is None or found is None:
        return None
    if bool(stored) != bool(found):
        kinds = ("an invented market", "recorded candles that the simulator replayed")
        holds, has = kinds[bool(stored)], kinds[bool(found)]
        flag = "with the same --data" if stored else "without --data"
        return f"{store.path} holds {holds}, this simulator has {has}; start it {flag}, {other}"
    differing = [name for name, one in found.items() if stored.get(name, one) != one]
    if differing:
        return (
            f"{store.path} holds other recorded candles of {differing[0]} than this simulator "
            f"replays; start it with the same --data, {other}"
        )
    return None


def _is_stored(connection: DatabaseConnection, source: SimulatedSource) -> bool:
    if connection.execute("SELECT seed FROM store_kind").get is None:
        return False
    stored = _read_recordings(connection)
    if source.recordings is None or stored is None:
        return source.recordings is None
    return {*source.recordings} <= {*stored}


def _read_recordings(connection: DatabaseConnection) -> Mapping[str, CandleRecording] | None:
    """Return the recordings of a file by symbol; empty: an invented market; None: not known."""
    if connection.execute("SELECT origin FROM store_kind").get is None:
        return None
    rows = connection.execute("SELECT symbol, timeframe, digest FROM recordings").fetchall()
    return {symbol: CandleRecording(timeframe, digest) for symbol, timeframe, digest in rows}
