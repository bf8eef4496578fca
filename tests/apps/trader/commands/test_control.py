"""`trader pause`, `resume`, `exit` and `flatten`: which account they reach, and what they print."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onetape.store.controls import read_controls
from onetape.store.database import open_store
from onetape.store.trader_states import StateChange, insert_state_changes
from traded_accounts import DATABASE, CommandResult, TradedAccount
from trader.states import WAITING

Run = Callable[..., CommandResult]


def read_verbs(account: str) -> list[str]:
    with open_store(DATABASE, create=False) as store:
        return [row[1] for row in read_controls(store, account)]


@pytest.mark.parametrize("verb", ["pause", "resume", "exit", "halt", "flatten"])
def test_a_command_without_an_account_is_stored_for_the_only_account(
    trader: Run, account: TradedAccount, verb: str
) -> None:
    ended = trader(verb, *(["all"] if verb == "exit" else []))
    name = account.session.account
    assert (ended.code, read_verbs(name)) == (0, [verb])
    symbol = " BTC/USDT" if verb in ("exit", "flatten", "reload") else ""
    assert ended.out.startswith(f"{name}: {verb}{symbol} stored")


def test_an_exit_without_a_symbol_sells_nothing(trader: Run, account: TradedAccount) -> None:
    ended = trader("exit")
    assert (ended.code, ended.err.count("\n"), read_verbs(account.session.account)) == (2, 1, [])


def test_a_pause_is_shown_by_status_until_it_ends(trader: Run, account: TradedAccount) -> None:
    del account
    trader("pause")
    (shown,) = json.loads(trader("status", "--json").out)["traders"]
    assert shown["pause"].startswith("paused by ")
    assert "paused by " in trader("status").out
    trader("resume")
    (shown,) = json.loads(trader("status", "--json").out)["traders"]
    assert shown["pause"] is None


def test_with_several_accounts_one_or_all_must_be_named(
    trader: Run, folder: Path, account: TradedAccount
) -> None:
    with TradedAccount(folder / DATABASE, name="other", symbol="ETH/USDT"):
        names = [account.session.account, "other"]
        refused = trader("flatten")
        assert (refused.code, "--all" in refused.err) == (2, True)
        assert [read_verbs(name) for name in names] == [[], []]
        assert trader("flatten", "--account", "other").code == 0
        assert [read_verbs(name) for name in names] == [[], ["flatten"]]
        assert trader("pause", "--all").code == 0
        assert [read_verbs(name) for name in names] == [["pause"], ["flatten", "pause"]]
        assert trader("pause", "--all", "--account", "other").code == 2


def test_a_command_without_a_database_creates_none(trader: Run, folder: Path) -> None:
    ended = trader("pause")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("words", "effect"),
    [
        (("pause",), "acts within a second"),
        (("resume",), "acts within a second"),
        (("halt",), "acts within a second"),
        (("exit", "all"), "sells the position once it trades"),
        (("flatten",), "makes no entries from now on; the position is sold once it trades"),
        (("reload",), "reads the settings once it trades"),
    ],
)
def test_a_command_to_a_trader_that_waits_for_the_exchange_states_when_it_takes_effect(
    trader: Run, account: TradedAccount, words: tuple[str, ...], effect: str
) -> None:
    assert trader(*words).out.endswith(" stored; its trader acts within a second\n")
    change = StateChange(1_000, "degraded", f"{WAITING} since 2024-03-01 00:00 UTC", "")
    insert_state_changes(account.store, account.session.session, [change])
    printed = trader(*words).out
    assert printed.endswith(f" stored; its trader waits for the exchange, and {effect}\n")
