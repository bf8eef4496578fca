"""Opening a live account: rights and owner of the key, and only one trader for it."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from live_desk import LiveDesk
from onetape.core.errors import ConfigurationError, SafetyRefusal, UsageError
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading_records import Credentials
from onetape.execution.events import Submitted
from onetape.simulator.embedded import EmbeddedSimulator, embedded_simulator
from onetape.store.database import open_store
from onetape.store.live_accounts import LiveAccount, open_live_account
from onetape.store.orders import store_order_change
from order_changes import change_of
from traded_accounts import TradedAccount
from trader.lease import Lease
from trader.live.keys import load_start_credentials
from trader.live.opening import (
    LiveAccess,
    check_live_exchange,
    open_access,
    open_or_check_account,
)
from trader.live.start_plan import StartPlan
from trader.session_context import SessionContext
from trader.settings import TraderSettings
from trader.start_settings import check_settings
from trader.traded_symbols import parse_traded_symbols

SYMBOL = "BTC/USDT"
#: Opens the account of a simulator in another process and keeps it until its stdin ends.
HOLDER = """
import asyncio, sys
from pathlib import Path
from contextlib import AsyncExitStack
from onetape.exchange.clients import Endpoint
from onetape.exchange.rest import RestExchange
from onetape.exchange.trading_records import Credentials
from trader.live.opening import open_access

KEY = Credentials("simulator", "simulator")

async def main():
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(RestExchange(Endpoint("simulator", sys.argv[1])))
        folders = [Path(one) for one in sys.argv[2:]]
        await open_access(exchange, ["BTC/USDT"], stack, KEY, data_folders=folders)
        sys.stdout.write("open\\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def open_account(
    simulator: EmbeddedSimulator,
    work: Callable[[Any], Coroutine[Any, Any, None]] | None = None,
    *,
    key: str = "simulator",
    held_account: str | None = None,
    data_folders: Sequence[Path] = (),
) -> LiveAccess:
    credentials = Credentials(key, key)

    async def run() -> LiveAccess:
        async with AsyncExitStack() as stack:
            endpoint = Endpoint("simulator", simulator.url)
            exchange = await stack.enter_async_context(RestExchange(endpoint))
            access = await open_access(
                exchange, [SYMBOL], stack, credentials, data_folders=data_folders,
                held_account=held_account,
            )  # fmt: skip
            if work is not None:
                await work(access)
            return access

    return asyncio.run(run())


def test_row_67_a_second_trader_of_an_account_and_symbol_is_refused() -> None:
    """Whatever name or database each of them has: the account is the exchange's."""
    with embedded_simulator() as simulator:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, simulator.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            while holder.stdout.readline() not in ("open\n", ""):
                pass
            with pytest.raises(SafetyRefusal, match="on the same account"):
                open_account(simulator)
            # A killed one is proven dead by the kernel: no wait.
            holder.kill()
            holder.wait()
        open_account(simulator)


@pytest.mark.parametrize("places", [("", ""), ("one", "other")])
def test_row_67_a_second_container_with_another_file_in_the_same_folder_is_refused(
    tmp_path: Path, places: tuple[str, str]
) -> None:
    """Containers share the folder of the data, and no folder for temporary files."""
    data, temporary = tmp_path / "data", tmp_path / "temporary"
    temporary.mkdir()
    for place in places:
        (data / place).mkdir(parents=True, exist_ok=True)
    first, second = ((data / place, data) for place in places)
    with embedded_simulator() as simulator:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, simulator.url, *map(str, first)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
        )  # fmt: skip
        with holder:
            assert holder.stdout is not None
            while holder.stdout.readline() not in ("open\n", ""):
                pass
            with pytest.raises(SafetyRefusal, match="on the same account"):
                open_account(simulator, data_folders=second)
            holder.kill()
            holder.wait()
        open_account(simulator, data_folders=second)


def test_row_67_two_names_of_one_account_cannot_trade_a_symbol_from_one_file(
    run: Callable[..., None],
) -> None:
    """As two containers do, which share the database and no other folder."""

    async def scenario(desk: LiveDesk) -> None:
        def context(name: str, account: str) -> SessionContext:
            session = structs.replace(desk.context.session, account=name)
            return structs.replace(desk.context, session=session, exchange_account=account)

        held = Lease(context("first", "account 1 of binance"))
        with pytest.raises(SafetyRefusal, match="account 1 of binance, BTC/USDT is traded by"):
            Lease(context("second", "account 1 of binance"))
        Lease(context("third", "account 2 of binance")).release()
        held.renew()
        held.release()
        Lease(context("second", "account 1 of binance")).release()

    run(scenario)


def test_a_key_that_may_withdraw_is_refused() -> None:
    with embedded_simulator() as simulator:
        for name, text in (("withdrawer", "move money out"), ("reader", "may not trade")):
            with pytest.raises(SafetyRefusal, match=text):
                open_account(simulator, key=name)


@pytest.mark.parametrize(
    ("key", "reason", "is_final"),
    [
        ("withdrawer", "exits only: the API key may move money out of simulator", False),
        ("reader", "the API key may not trade", True),
        ("revoked", "the API key is not accepted: ", True),
        ("", "the API key is not accepted: ", True),
    ],
)
def test_with_a_position_open_no_key_is_refused_and_entries_are_banned(
    key: str, reason: str, is_final: bool
) -> None:
    with embedded_simulator() as simulator:
        access = open_account(simulator, key=key, held_account="1")
    assert access.entry_ban is not None
    assert access.entry_ban.reason.startswith(reason)
    assert access.entry_ban.is_final is is_final


def test_a_start_without_a_key_is_refused_unless_a_position_is_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in ("KEY", "SECRET"):
        monkeypatch.delenv(f"ONETAPE_API_{name}", raising=False)
        monkeypatch.delenv(f"ONETAPE_API_{name}_FILE", raising=False)
    settings = TraderSettings(mode="live")
    symbols = tuple(parse_traded_symbols(settings))
    with pytest.raises(ConfigurationError, match="ONETAPE_API_KEY is not set"):
        load_start_credentials(StartPlan(settings, symbols))
    held = StartPlan(settings, symbols, held={SYMBOL: symbols[0]})
    assert load_start_credentials(held) == Credentials("", "")
    assert "no API key: ONETAPE_API_KEY is not set" in capsys.readouterr().out
    assert load_start_credentials(StartPlan(TraderSettings(), symbols)) is None


def test_orders_go_to_an_untested_exchange_only_with_consent_of_a_person() -> None:
    for exchange in ("simulator", "binance"):
        check_live_exchange(exchange, is_untested_allowed=False)
    with pytest.raises(UsageError, match="add --untested-exchange if you want that"):
        check_live_exchange("okx", is_untested_allowed=False)
    check_live_exchange("okx", is_untested_allowed=True)
    for exchange, reason in (
        ("kraken", ", because it does not state the account of a key: "),
        ("coinbase", ", because its market buys state what they cost.* limit orders alone: "),
        ("kucoin", ": live orders go to"),
    ):
        with pytest.raises(UsageError, match=f"no orders to {exchange}{reason}"):
            check_live_exchange(exchange, is_untested_allowed=True)


@pytest.mark.parametrize(
    "settings",
    [TraderSettings(sandbox=True), TraderSettings(sandbox=True, mode="live", exchange="simulator")],
)
def test_a_test_network_is_one_of_a_real_exchange_and_for_live_orders(
    settings: TraderSettings,
) -> None:
    with pytest.raises(UsageError, match="test network of a real exchange"):
        check_settings(settings)


def test_the_first_session_stores_what_the_account_held(tmp_path: Path) -> None:
    balance = {"USDT": Decimal(700), "BTC": Decimal(3)}
    settings = TraderSettings(exchange="simulator")

    async def work(access: Any) -> None:
        with open_store(tmp_path / "x.db", create=True) as store:
            held = open_or_check_account(store, settings, "mine", access, "USDT", 1)
            assert held.cash == 700
            with store.read() as connection:
                (row,) = connection.execute("SELECT baseline FROM live_accounts").fetchall()
            assert row == ('{"BTC": "3", "USDT": "700"}',)

    with embedded_simulator(balance=balance) as simulator:
        open_account(simulator, work)


@pytest.mark.parametrize(
    ("held", "money"), [("0.3", "0.7"), ("0.3 not booked", "0.7"), ("2", None)]
)
def test_coins_of_another_accounts_position_are_not_money_of_a_new_account(
    tmp_path: Path, held: str, money: str | None
) -> None:
    """An account in BTC is opened while another one has bought BTC with USDT."""
    path = tmp_path / "x.db"
    amount, *unbooked = held.split(" ", 1)
    settings = TraderSettings(exchange="simulator")

    async def work(access: LiveAccess) -> None:
        with TradedAccount(path, "first", exchange="simulator", mode="live") as first:
            opened = LiveAccount("first", "simulator", access.exchange_account, {}, 1, 1)
            open_live_account(first.store, opened)
            if unbooked:
                order = first.intend("buy", 1)
                sent = change_of(order, [Submitted()], at_ms=1, ordered_amount=Decimal(amount))
                store_order_change(first.store, sent, first.fence)
            else:
                first.fill("buy", amount, "30000", 1)
            # Another account at the exchange has baseline coins.
            with TradedAccount(path, "elsewhere", exchange="simulator", mode="live") as other:
                open_live_account(
                    other.store, LiveAccount("elsewhere", "simulator", "another", {}, 1, 1)
                )
                other.fill("buy", "0.1", "30000", 1)
            found = access.add_booked_coins(path, "BTC")
            if money is None:
                with pytest.raises(UsageError, match="2 BTC are booked as positions of other acc"):
                    open_or_check_account(first.store, settings, "mine", found, "BTC", 1)
                return
            assert open_or_check_account(first.store, settings, "mine", found, "BTC", 1).cash == (
                Decimal(money)
            )

    with embedded_simulator(balance={"BTC": Decimal(1)}) as simulator:
        open_account(simulator, work)
