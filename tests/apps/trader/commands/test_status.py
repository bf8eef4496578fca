"""`trader status`: what it shows, its exit codes, and that it changes nothing."""

import hashlib
import json
import socket
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from old_stores import make_old_store
from onetape.core.errors import StoreError, StoreUnwritable
from onetape.store.database import open_store
from onetape.store.read_only import open_read_only
from traded_accounts import DATABASE, MARCH, CommandResult, TradedAccount, compute_hour_ms

Run = Callable[..., CommandResult]


def parse_traders(ended: CommandResult) -> list[dict[str, Any]]:
    """Return the entry of each trader in the output of a --json run."""
    return json.loads(ended.out)["traders"]


def test_a_position_is_shown_with_its_exact_money(trader: Run, account: TradedAccount) -> None:
    account.candles((100, 101, 99, 100), (100, 108, 99, 104), (104, 106, 103, 105))
    account.fill("buy", "2", "100.1", 0, fee="0.2002")
    account.fill("sell", "2", "104", 1, fee="0.208")
    account.fill("buy", "1.5", "104.5", 2.5, fee="0.15675")
    (shown,) = parse_traders(trader("status", "--json"))
    realised = Decimal("2") * (Decimal("104") - Decimal("100.1")) - Decimal("0.4082")
    unrealised = Decimal("1.5") * (Decimal("105") - Decimal("104.5")) - Decimal("0.15675")
    assert Decimal(shown["realised_profit"]) == realised
    assert Decimal(shown["unrealised_profit"]) == unrealised
    assert Decimal(shown["equity"]) == 1_000 + realised + unrealised
    assert shown["fees"] == {"USDT": "0.56495"}
    assert shown["position"] == {
        "amount": "1.5",
        "entry_price": "104.5",
        "opened_ms": compute_hour_ms(2.5),
    }
    assert shown["round_trips"] == 1


def test_fees_taken_from_the_coin_reduce_the_position_and_stay_in_their_currency(
    trader: Run, account: TradedAccount
) -> None:
    account.candles((100, 110, 100, 110))
    account.least_amount("0.01")
    account.fill("buy", "2", "100", 0, fee="0.002", fee_currency="BTC")
    account.fill("sell", "1.99", "105", 0.5, fee="0.2")
    account.fill("buy", "1", "100", 0.8)
    (shown,) = parse_traders(trader("status", "--json"))
    assert Decimal(shown["position"]["amount"]) == Decimal("1.008")
    assert Decimal(shown["realised_profit"]) == Decimal("1.99") * 105 - 200 - Decimal("0.2")
    assert Decimal(shown["unrealised_profit"]) == Decimal("1.008") * 110 - 100
    assert shown["fees"] == {"BTC": "0.002", "USDT": "0.2"}


def test_levels_of_the_position_are_computed_from_the_entry_candle_on(
    trader: Run, account: TradedAccount
) -> None:
    account.candles((100, 101, 99, 100))
    account.fill("buy", "2", "100.7", 0)
    (shown,) = parse_traders(trader("status", "--json"))
    protection = shown["protection"]
    assert (round(protection["stop"], 9), protection["stop_kind"]) == (95.0, "stop_loss")
    assert round(protection["target"], 9) == 110.0


def test_a_target_net_of_fees_shows_the_price_that_earns_both(trader: Run, folder: Path) -> None:
    rules = {"take_profit": 0.1, "net_targets": True, "fee_rate": 0.01, "maker_fee_rate": 0.005}
    with TradedAccount(folder / DATABASE, rules=rules) as account:
        account.candles((100, 101, 99, 100))
        account.fill("buy", "1", "100", 0)
        (shown,) = parse_traders(trader("status", "--json"))
    expected = 100 * 1.1 * 1.01 / 0.995
    assert shown["protection"]["target"] == pytest.approx(expected)


def test_a_trailing_stop_follows_the_highest_closed_candle(trader: Run, folder: Path) -> None:
    rules = {"trailing_stop": 0.1, "time_stop_bars": 5}
    with TradedAccount(folder / DATABASE, rules=rules) as account:
        account.candles((100, 101, 99, 100), (100, 120, 100, 119), (119, 119.5, 118, 119))
        account.fill("buy", "1", "100", 0)
        (shown,) = parse_traders(trader("status", "--json"))
    assert round(shown["protection"]["stop"], 9) == 108.0
    assert shown["protection"]["stop_kind"] == "trailing_stop"
    assert shown["protection"]["time_stop_candles"] == 2


def test_a_stop_moved_by_the_strategy_is_shown_even_without_exits_of_the_account(
    trader: Run, folder: Path
) -> None:
    with TradedAccount(folder / DATABASE, rules={}) as account:
        account.candles((100, 101, 99, 100), (100, 101, 99, 100), (100, 101, 99, 100))
        account.fill("buy", "1", "100", 1)
        account.decide(0, 1, {}, {"stop each_candle": 95.0, "target at_entry": 110.0})
        account.decide(1, 0, {}, {"stop each_candle": 97.0, "target at_entry": 105.0})
        account.decide(2, 0, {}, {"stop each_candle": 96.0})
        (shown,) = parse_traders(trader("status", "--json"))
    assert round(shown["protection"]["stop"], 9) == 97.0
    assert round(shown["protection"]["target"], 9) == 110.0
    assert shown["protection"]["stop_kind"] == "stop_loss"


def test_open_orders_pending_exits_and_a_blocked_signal_are_shown(
    trader: Run, account: TradedAccount
) -> None:
    account.candles((100, 101, 99, 100))
    account.fill("buy", "2", "100", 0)
    account.add_pending_exit(1, "95")
    account.order("sell", 1, reason="stop loss at 95", type_="stop_loss")
    account.decide(0, 1, {"candles": "ok", "state": "degraded: the disk is full"})
    shown = trader("status").out
    assert "open order     sell (stop_loss), open since 2024-03-01 01:00: stop loss at 95" in shown
    assert "pending exit   stop loss at 95, decided 2024-03-01 01:00" in shown
    assert "signal BUY at the close of 2024-03-01 01:00, no order: state: degraded" in shown


def test_a_state_is_shown_since_its_first_row_with_the_newest_reason(
    trader: Run, account: TradedAccount
) -> None:
    account.state("degraded", "the disk is full", "free some space", hours=1)
    account.state("degraded", "the disk is full; tries again (over: the stream)", hours=2)
    (shown,) = parse_traders(trader("status", "--json"))
    assert (shown["state"], shown["since_ms"]) == ("degraded", compute_hour_ms(1))
    assert shown["reason"] == "the disk is full; tries again (over: the stream)"


def test_a_problem_that_has_ended_stays_the_last_problem(
    trader: Run, account: TradedAccount
) -> None:
    account.state("degraded", "the disk is full", "free some space", hours=1)
    account.state("trading", "over after 60 s: the disk is full", hours=2)
    ended = trader("status")
    assert ended.code == 0
    assert "last problem   2024-03-01 01:00 degraded: the disk is full; free some space" in (
        ended.out
    )


@pytest.mark.parametrize(("state", "code"), [("trading", 0), ("degraded", 10), ("halted", 11)])
def test_status_exits_with_the_code_of_the_state(
    trader: Run, account: TradedAccount, state: Any, code: int
) -> None:
    account.state(state, "a reason", hours=1)
    assert trader("status").code == code


def test_a_trader_whose_process_ended_without_a_stored_reason_is_dead(
    trader: Run, account: TradedAccount
) -> None:
    account.lock.release()
    ended = trader("status", "--json")
    assert ended.code == 12
    assert parse_traders(ended)[0]["state"] == "dead"


def test_a_running_trader_that_cannot_write_is_degraded_after_five_seconds(
    trader: Run, account: TradedAccount
) -> None:
    assert trader("status").code == 0
    with account.store.write() as connection:
        # The lease itself still runs.
        connection.execute("UPDATE leases SET renewed_ms = renewed_ms - 6000")
    ended = trader("status", "--json")
    (shown,) = parse_traders(ended)
    assert (ended.code, shown["state"]) == (10, "degraded")
    assert shown["reason"].startswith(
        "its process runs and has written nothing to the database for "
    )


@pytest.mark.parametrize(
    ("reason", "state"), [("SIGTERM", "stopped"), ("Ctrl-C", "stopped"), ("disk full", "failed")]
)
def test_a_trader_that_ended_is_stopped_or_failed_by_its_reason(
    trader: Run, account: TradedAccount, reason: str, state: str
) -> None:
    account.end(reason)
    account.lock.release()
    ended = trader("status", "--json")
    assert ended.code == 12
    assert parse_traders(ended)[0]["state"] == state


def test_a_stopped_trader_next_to_a_running_one_counts_as_healthy(
    trader: Run, account: TradedAccount
) -> None:
    with TradedAccount(DATABASE.resolve(), "other") as other:
        other.end()
        other.lock.release()
        assert trader("status").code == 0
        assert trader("status", "--account", "other").code == 12
        assert trader("status", "--account", "test").code == 0


def test_the_worst_of_several_traders_decides_the_exit_code(
    trader: Run, account: TradedAccount
) -> None:
    with TradedAccount(DATABASE.resolve(), "other", symbol="ETH/USDT") as other:
        other.state("halted", "the file is damaged", hours=1)
        ended = trader("status")
        assert ended.code == 11
        assert "2 traders: 1 halted, 1 trading" in ended.out
        assert trader("status", "--symbol", "BTC/USDT").code == 0


def test_a_missing_file_prints_one_line_that_names_the_files_with_accounts(
    trader: Run, account: TradedAccount, folder: Path
) -> None:
    (folder / "data" / "notes.db").write_text("no database", encoding="utf-8")
    open_store(folder / "data" / "empty.db", create=True).close()
    for missing in (["--exchange", "simulator"], ["--db", "data/empty.db"]):
        ended = trader("status", *missing)
        assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
        assert "these do, choose one with --db: data/onetape.db (1 account)" in ended.err


def test_a_database_is_named_once_if_the_flag_has_an_absolute_path(
    trader: Run, account: TradedAccount, folder: Path
) -> None:
    account.end()
    empty = folder / "data" / "empty.db"
    open_store(empty, create=True).close()
    assert trader("status", "--db", str(empty)).err.count("(1 account)") == 1
    assert "other databases" not in trader("status", "--db", str(folder / DATABASE)).out


def test_without_an_account_the_line_has_the_command_to_open_one(trader: Run, folder: Path) -> None:
    ended = trader("status")
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert "data/onetape.db does not exist" in ended.err
    assert "start a trader first: uv run trader --help" in ended.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--account", "tset"], 4, "no account 'tset'; did you mean 'test'?"),
        (["--symbol", "ETH/USDT"], 4, "holds no account of ETH/USDT"),
        (["--symbol", "ETHUSDT"], 2, "symbol 'ETHUSDT' was not understood"),
        (["--exchange", "kraken"], 4, "holds no account of kraken"),
        (["--watch", "--json"], 2, "--watch shows text for a person"),
        (["--db", "."], 4, ". is not a file"),
    ],
)
def test_flags_that_match_nothing_print_one_line(
    trader: Run, account: TradedAccount, flags: list[str], code: int, words: str
) -> None:
    ended = trader("status", *flags)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert words in ended.err


def test_a_flag_before_the_command_is_refused_with_the_right_order(trader: Run) -> None:
    ended = trader("--exchange", "simulator", "status")
    assert ended.code == 2
    assert "put --exchange behind the command: trader status --exchange" in ended.err


def test_reading_leaves_the_file_as_it_is(trader: Run, account: TradedAccount) -> None:
    path = DATABASE.resolve()
    account.store.close()
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    assert trader("status").code in (0, 12)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    with open_read_only(path) as store, pytest.raises(StoreUnwritable), store.write() as writing:
        writing.execute("DELETE FROM accounts")
    with open_read_only(path) as store, store.read() as connection:
        assert connection.execute("SELECT count(*) FROM accounts").get == 1
    account.store = open_store(path, create=False)


def test_a_file_of_an_earlier_version_is_refused_and_not_migrated(
    trader: Run, folder: Path
) -> None:
    path = folder / DATABASE
    path.parent.mkdir()
    make_old_store(path)
    before = path.read_bytes()
    ended = trader("status")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "schema 1 of an earlier Onetape" in ended.err
    assert path.read_bytes() == before
    with pytest.raises(StoreError):
        open_read_only(path)


def test_the_age_of_the_last_candle_counts_from_its_close(trader: Run, folder: Path) -> None:
    path = folder / "data" / "simulator.db"
    with TradedAccount(path, exchange="simulator") as account:
        account.candles((100, 101, 99, 100), (100, 101, 99, 100))
        (shown,) = parse_traders(trader("status", "--json", "--exchange", "simulator"))
    # The newest time that is stored of this simulated market is the open of the second candle.
    assert shown["last_closed_candle"] == MARCH + 3_600
    assert shown["market_time_ms"] == compute_hour_ms(1)
    assert shown["candle_age_seconds"] == 0


def test_only_traders_of_this_computer_are_shown(trader: Run, account: TradedAccount) -> None:
    refused = trader("status", "--here")
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    with account.store.write() as connection:
        holder = f"process 12 on {socket.gethostname()}"
        connection.execute("UPDATE leases SET holder = ?", (holder,))
    assert trader("status", "--here").code == 0


def test_other_databases_with_accounts_are_named_if_no_trader_runs(
    trader: Run, account: TradedAccount
) -> None:
    account.end()
    alone = trader("status")
    assert (alone.code, "other databases" in alone.out) == (12, False)
    with TradedAccount(account.store.path.with_name("other.db"), name="other"):
        shown = trader("status").out
    assert "choose one with --db: data/other.db (1 account)" in shown
