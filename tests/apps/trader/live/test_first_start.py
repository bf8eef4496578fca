"""The whole program on Binance and its test network, with CCXT redirected to a simulator."""

import os
import signal
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from onetape.engine import AccountConfig, ExitConfig
from onetape.simulator.embedded import embedded_simulator
from onetape.store.database import open_store
from onetape.store.drills import StoredDrill, insert_drill
from real_endpoint import redirect_binance
from trader.config_digest import compute_config_digest
from trader.run import run_trader
from trader.settings import TraderSettings, choose_trader_database
from trader.start_settings import check_settings

STOP = AccountConfig(exits=ExitConfig(stop_loss=0.05))


def stop_at_the_first_decision(db: Path, has_ended: threading.Event) -> None:
    """Send SIGTERM to this process, which trades, once a decision is stored."""
    with open_store(db, create=True) as store:
        while not has_ended.wait(0.05):
            with store.read() as connection:
                if connection.execute("SELECT count(*) FROM decisions").get:
                    os.kill(os.getpid(), signal.SIGTERM)
                    return


@pytest.mark.parametrize("is_sandbox", [False, True])
def test_a_confirmed_account_trades_with_the_candles_in_a_separate_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_sandbox: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONETAPE_API_KEY", "simulator")
    monkeypatch.setenv("ONETAPE_API_SECRET", "simulator")
    settings = TraderSettings(
        mode="live",
        sandbox=is_sandbox,
        untested_exchange=not is_sandbox,
        timeframe="1m",
        account=STOP,
    )
    check_settings(settings)
    drilled = choose_trader_database(replace(settings, sandbox=False))
    drilled.parent.mkdir(mode=0o700)
    with open_store(drilled, create=True) as store:
        insert_drill(store, StoredDrill(compute_config_digest(settings), 7, True, {}))
    db, has_ended = choose_trader_database(settings), threading.Event()
    assert db.name == ("sandbox.db" if is_sandbox else "onetape.db")
    stopper = threading.Thread(target=stop_at_the_first_decision, args=(db, has_ended))
    network = "test" if is_sandbox else "api"
    with embedded_simulator() as simulator, redirect_binance(simulator.url, network):
        stopper.start()
        try:
            run_trader(settings, is_confirmed=True)
        finally:
            has_ended.set()
            stopper.join()
    out = capsys.readouterr().out
    assert ("with the play money of a test network" in out) is is_sandbox
    assert ("with real money; all of it can be lost" in out) is not is_sandbox
    # A test network does not state what a key may do.
    assert ("see that it cannot withdraw" in out) is is_sandbox
    assert "live trading binance BTC/USDT 1m with rsi" in out
    assert "entries are at most 20 USDT large until " in out
    with open_store(db, create=False) as store, store.read() as connection:
        kind = connection.execute("SELECT simulated, is_sandbox FROM store_kind").fetchall()
        assert kind == [(0, int(is_sandbox))]
        assert connection.execute("SELECT confirmed_ms > 0 FROM live_accounts").get == 1
    with open_store(drilled, create=False) as store, store.read() as connection:
        candles = connection.execute("SELECT count(*) FROM ohlcv_data").get
    assert (candles == 0) is is_sandbox
