"""Databases of older versions are copied and migrated completely, or unchanged."""

import json
import logging
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from old_stores import VERSIONS, make_old_store, read_all_rows, read_version
from onetape.core.errors import StoreError
from onetape.execution.events import decode_event
from onetape.execution.orders import fold
from onetape.store.database import open_store
from onetape.store.migrations import NEWEST_VERSION
from store_crowd import run_crowd
from store_kills import KilledCopy, kill_everywhere


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    return make_old_store(tmp_path / "data" / "onetape.db")


def list_backups(path: Path, version: int = 1) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.v{version}-*.backup"))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_of_an_older_file_is_there_after_a_migration(
    tmp_path: Path, version: int
) -> None:
    """Failure mode 54."""
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    before = read_all_rows(old, version)
    assert all(before.values())
    open_store(old, create=False).close()
    assert read_version(old) == NEWEST_VERSION
    assert read_all_rows(old, version) == before


def test_every_earlier_version_is_made_by_these_tests() -> None:
    assert (*VERSIONS, NEWEST_VERSION) == tuple(range(1, NEWEST_VERSION + 1))


@pytest.mark.parametrize("version", VERSIONS)
def test_orders_of_an_older_file_get_their_events_position_and_candle(
    tmp_path: Path, version: int
) -> None:
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    with open_store(old, create=False) as store, store.read() as connection:
        rows = connection.execute(
            "SELECT client_order_id, status, entry_order_id, filled, filled_timestamp FROM orders"
        ).fetchall()
        documents = connection.execute(
            "SELECT client_order_id, payload FROM order_events ORDER BY client_order_id, number"
        ).fetchall()
    assert {identity: row for identity, *row in rows} == {
        "o1": ["closed", None, "1.000", 7_200],
        "o1-exit-7200-0123abcd": ["closed", "o1", "1.000", 7_200],
        "o2": ["closed", None, "2.000", 14_400],
        "o3": ["canceled", "o2", "0", None],
        "o4": ["closed", "o2", "2.000", 21_600],
        "o5": ["rejected", None, "0", None],
        "o6": ["open", None, "0", None],
        "o7": ["intent", "o2", "0", None],
    }
    for identity, status, _, filled, _ in rows:
        events = [decode_event(str(document)) for name, document in documents if name == identity]
        state = fold(events)
        assert (state.status, state.filled) == (status, Decimal(str(filled)))
        assert state.booked == state.filled


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unfinished_sell_of_an_older_file_is_a_pending_exit(
    tmp_path: Path, version: int
) -> None:
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    with open_store(old, create=False) as store, store.read() as connection:
        pending = connection.execute(
            "SELECT client_order_id, e.entry_order_id, e.cause, e.signal_timestamp, e.ended_ms "
            "FROM exit_obligations e JOIN orders USING (obligation)"
        ).fetchall()
    assert pending == [("o7", "o2", "market", 25_200, None)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_views_of_an_older_file_have_its_fills_and_round_trips(
    tmp_path: Path, version: int
) -> None:
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    with open_store(old, create=False) as store, store.read() as connection:
        fills = connection.execute("SELECT client_order_id, price, amount FROM fills").fetchall()
        trips = connection.execute(
            "SELECT entry_order_id, opened_ms, closed_ms, bought, sold FROM round_trips "
            "ORDER BY opened_ms"
        ).fetchall()
        views = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
    assert fills == [
        ("o1", 9.5, 1.0), ("o1-exit-7200-0123abcd", 9.5, 1.0), ("o2", 9.5, 2.0), ("o4", 9.5, 2.0)
    ]  # fmt: skip
    assert trips == [("o1", 3, 5, 1.0, 1.0), ("o2", 7, 11, 2.0, 2.0)]
    assert sorted(name for (name,) in views) == ["fills", "round_trips"]


@pytest.mark.parametrize("version", [3, 4, 5, 6, 7])
def test_the_evidence_of_a_gap_of_an_older_file_has_its_new_names(
    tmp_path: Path, version: int
) -> None:
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE gaps SET answers = 2, answered_ms = 9 WHERE state = 'accepted'")
    with open_store(old, create=False) as store, store.read() as connection:
        found = connection.execute(
            "SELECT responses, first_response_ms FROM gaps WHERE state = 'accepted'"
        ).fetchall()
    assert found == [(2, 9)]


@pytest.mark.parametrize("version", [4, 5, 6, 7])
def test_the_minimum_amount_of_a_stored_sell_is_the_same_after_a_migration(
    tmp_path: Path, version: int
) -> None:
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE trades SET least_amount = '0.0100' WHERE side = 'sell'")
    with open_store(old, create=False) as store, store.read() as connection:
        found = connection.execute(
            "SELECT DISTINCT side, min_sell_amount FROM trades ORDER BY side"
        ).fetchall()
    assert found == [("buy", None), ("sell", "0.0100")]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_renamed_settings_of_an_older_session_have_their_values(
    tmp_path: Path, version: int
) -> None:
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    with closing(sqlite3.connect(old)) as connection, connection:
        rules = {"fee_rate": 0.001, "fee_currency": "base", "cooldown_bars": 3}
        connection.execute("UPDATE sessions SET rules = ?", (json.dumps(rules),))
    with open_store(old, create=False) as store, store.read() as connection:
        found = connection.execute("SELECT rules FROM sessions").fetchall()
    assert [json.loads(text) for (text,) in found] == [
        {"fee_rate": 0.001, "fee_currency": "base", "cooldown_bars": 3}
    ]


def test_a_copy_of_the_older_file_is_kept_next_to_it_and_named_once(
    old_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_all_rows(old_store)
    with caplog.at_level(logging.WARNING):
        open_store(old_store, create=False).close()
        open_store(old_store, create=False).close()
    (kept,) = list_backups(old_store)
    assert (read_version(kept), read_all_rows(kept)) == (1, before)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [record.getMessage() for record in caplog.records] == [
        f"{old_store} was migrated to schema {NEWEST_VERSION}; a copy from before is saved as "
        f"{kept}"
    ]


def test_an_older_file_without_rows_needs_no_copy(tmp_path: Path) -> None:
    path = make_old_store(tmp_path / "onetape.db", rows=False)
    open_store(path, create=False).close()
    assert read_version(path) == NEWEST_VERSION
    assert list_backups(path) == []


def test_a_migration_that_cannot_make_its_copy_changes_nothing(old_store: Path) -> None:
    pages = old_store.stat().st_size // 4_096
    with old_store.open("r+b") as file:
        file.seek(4_096 * (pages // 2))
        file.write(b"\xff" * 4_096)
    with pytest.raises(StoreError, match="is damaged"):
        open_store(old_store, create=False)
    assert read_version(old_store) == 1
    assert list_backups(old_store) == []


def test_a_file_of_a_newer_program_is_refused_and_stays_as_it_was(old_store: Path) -> None:
    """Failure mode 54."""
    other = sqlite3.connect(old_store)
    other.execute(f"PRAGMA user_version = {NEWEST_VERSION + 1}")
    other.close()
    before = old_store.read_bytes()
    with pytest.raises(StoreError, match=f"has schema {NEWEST_VERSION + 1}.*update Onetape"):
        open_store(old_store, create=False)
    assert old_store.read_bytes() == before
    assert list_backups(old_store) == []


def migrate_at_once(path: Path, *guards_off: str) -> list[str]:
    """Let 8 processes migrate a file at once; return the errors."""
    before = read_all_rows(path)
    workers = run_crowd(path, [("opener", 8)], guards_off=guards_off)
    faults = [worker.error for worker in workers if worker.error]
    after = read_all_rows(path)
    leases = [row for row in after["leases"] if not row[0].startswith("crowd/")]
    if {**after, "leases": leases} != before:
        faults.append("rows differ")
    if len(list_backups(path)) != 1:
        faults.append(f"{len(list_backups(path))} backups")
    return faults


def test_processes_that_migrate_at_once_wait_for_the_first(old_store: Path) -> None:
    """Failure mode 54."""
    assert migrate_at_once(old_store) == []


def test_without_the_lock_processes_that_migrate_at_once_fail(old_store: Path) -> None:
    """Failure mode 54, its guard off."""
    assert migrate_at_once(old_store, "a write is one transaction") != []


def find_broken(copies: Sequence[KilledCopy], before: object, version: int = 1) -> list[str]:
    """Return which files are neither old nor new, or cannot be brought up by the next process."""
    faults: list[str] = []
    for copy in copies:
        try:
            open_store(copy.path, create=False).close()
        except StoreError as error:
            faults.append(str(error))
            continue
        is_new = read_version(copy.path) == NEWEST_VERSION
        if not is_new or read_all_rows(copy.path, version) != before:
            faults.append(f"{copy.path}: rows differ")
        faults += [
            f"{kept}: rows differ"
            for kept in list_backups(copy.path, version)
            if (read_version(kept), read_all_rows(kept, version)) != (version, before)
        ]
        if list(copy.path.parent.glob(".*.new*")):
            faults.append(f"{copy.path}: an unfinished copy was left")
    return faults


@pytest.mark.parametrize("version", VERSIONS)
def test_a_migration_that_is_killed_anywhere_leaves_the_old_file_whole(
    tmp_path: Path, version: int
) -> None:
    """Failure mode 54."""
    old = make_old_store(tmp_path / "data" / "onetape.db", version)
    copies = kill_everywhere(old, "migrate", seed=54)
    assert find_broken(copies, read_all_rows(old, version), version) == []


def test_without_one_transaction_a_killed_migration_leaves_a_file_that_cannot_be_opened(
    old_store: Path,
) -> None:
    """Failure mode 54, its guard off."""
    copies = kill_everywhere(old_store, "migrate", seed=54, guard_off="a write is one transaction")
    assert find_broken(copies, read_all_rows(old_store)) != []
