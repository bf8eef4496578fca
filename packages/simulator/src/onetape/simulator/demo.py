"""`uv run demo`: history, backtest and paper trading on an invented market, all on this machine.

The three apps run as separate processes against the simulator on loopback, through the
unchanged CCXT classes, so the demo shows what a user gets. The trader runs on an accelerated
market until it has bought and sold; then its fills are compared with those of a backtest of the
same candles.
"""

import re
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from onetape.cli.program import run_app
from onetape.core.errors import CheckFailed
from onetape.simulator.screen import Screen

if TYPE_CHECKING:
    from decimal import Decimal

    from onetape.core.digits import Digits
    from onetape.simulator.embedded import EmbeddedSimulator
    from onetape.simulator.market.clock import PacedClock

#: Seed of the invented market, the same in every run.
SEED: Final = 7
SYMBOL: Final = "BTC/USDT"
TIMEFRAME: Final = "1h"
#: Market time at which the live part begins: 2026-05-26 00:00 UTC. From here on the
#: strategy below makes a round trip within 27 candles of this seed and a second one within 55.
#: The exchange has no outage from 200 days before to 90 hours after it.
LIVE_FROM: Final = 1_779_753_600
HISTORY_DAYS: Final = 200
BACKTEST_DAYS: Final = 180
PARAMETERS: Final = {"period": "7", "buy": "35", "sell": "65"}
#: Speed of market time as a multiple of real time: a candle of an hour takes 0.25 s.
SPEED: Final = 14_400.0
#: Seconds of market time before the trader starts, in which the first candle gets its first trades.
FIRST_SECONDS: Final = 300
#: Number of candles that the trader misses on the stream when its socket is cut.
CUT_CANDLES: Final = 3
#: Real time for which new sockets are refused; the cut ends earlier, after `CUT_CANDLES`.
REFUSE_SECONDS: Final = 600.0
HOUR: Final = 3_600
DAY: Final = 24 * HOUR
#: Number of candles after which a missing round trip counts as a failure.
MAX_CANDLES: Final = 90

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class LivePart:
    """Result of the live part of the demo."""

    account: str
    """Name of the trader's paper account."""
    first_decision: int
    """Open of the first candle whose decision could have become an order, epoch seconds."""


@app.command()
def demo(
    db: Annotated[
        Path, typer.Option(metavar="FILE", help="Database; each run creates it again.")
    ] = Path("data/demo.db"),
    report: Annotated[
        Path, typer.Option(metavar="FILE", help="HTML report of the backtest.")
    ] = Path("data/reports/demo.html"),
) -> None:
    """Show the whole chain on an invented market: no account, no key, no network, half a minute."""
    screen = Screen()
    screen.print_line("Onetape demo: no account, no key, nothing leaves this machine.")
    began = time.monotonic()
    # SIGTERM raises SystemExit, so that every `finally` runs and the trader is stopped too.
    signal.signal(signal.SIGTERM, _exit_on_signal)
    common = ("--exchange", "simulator", "--symbol", SYMBOL, "--timeframe", TIMEFRAME)
    _delete_database(db)
    _fetch_history(screen, db, common)
    _backtest_history(screen, db, report, common)
    live = _trade_live(screen, db, common)
    _compare(screen, db, common, live)
    _print_next_steps(screen, db, report, time.monotonic() - began)


def _exit_on_signal(number: int, frame: object) -> None:
    del frame
    sys.exit(128 + number)


def _delete_database(db: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-wal-owner"):
        db.with_name(db.name + suffix).unlink(missing_ok=True)


def _fetch_history(screen: Screen, db: Path, common: tuple[str, ...]) -> None:
    from onetape.simulator.embedded import embedded_simulator
    from onetape.simulator.market.clock import make_clock
    from onetape.simulator.programs import run_json

    screen.begin("simulator")
    with embedded_simulator(
        seed=SEED, clock=make_clock(start_ms=LIVE_FROM * 1_000, stepped=True)
    ) as simulator:
        screen.finish_step(
            f"implements Binance's protocol at {simulator.url}; market INVENTED, seed {SEED}"
        )
        screen.begin("history")
        document = run_json(
            "backfiller",
            *common,
            *("--simulator-url", simulator.url, "--db", str(db)),
            *("--from", str(LIVE_FROM - HISTORY_DAYS * DAY)),
        )
    series = document["series"][0]
    gaps = f"{series['gaps']} gaps" if series["gaps"] else "no gaps"
    screen.finish_step(
        f"{series['inserted']:,} candles of {TIMEFRAME} {SYMBOL} over CCXT REST, "
        f"{series['pages']} pages, {gaps}"
    )


def _backtest_history(screen: Screen, db: Path, report: Path, common: tuple[str, ...]) -> None:
    from onetape.simulator.programs import run_json

    screen.begin("backtest")
    document = run_json(
        "backtester",
        *common,
        *_make_strategy_flags(),
        *("--db", str(db), "--report", str(report)),
        *("--from", str(LIVE_FROM - BACKTEST_DAYS * DAY)),
    )
    metrics, digits = document["metrics"], _parse_digits(document)
    screen.finish_step(
        f"rsi {metrics['total_return']:+.1%}, buy and hold "
        f"{metrics['buy_and_hold']['total_return']:+.1%}, {metrics['trades']} trades, "
        f"fees {digits.format_money(metrics['fees'])} USDT"
    )


def _trade_live(screen: Screen, db: Path, common: tuple[str, ...]) -> LivePart:
    """Run the trader on the accelerated stream until it has made a round trip."""
    from onetape.simulator.embedded import embedded_simulator
    from onetape.simulator.market.clock import PacedClock
    from onetape.simulator.programs import run_program

    screen.begin("paper trader on the live stream")
    with ExitStack() as stack:
        # Market time waits for the trader's decisions, so that the demo works on a slow machine.
        clock = PacedClock(LIVE_FROM * 1_000, SPEED)
        clock.allow_until((LIVE_FROM + FIRST_SECONDS) * 1_000)
        simulator = stack.enter_context(embedded_simulator(seed=SEED, clock=clock))
        trader = stack.enter_context(
            run_program(
                "trader",
                *common,
                *_make_strategy_flags(),
                *("--simulator-url", simulator.url, "--db", str(db)),
            )
        )
        follower = _Follower(screen, simulator, clock)
        for line in trader.iterate_lines():
            follower.process_line(line)
            if follower.is_done:
                break
        trader.check()
        trader.stop()
        follower.end_candle()
        _fetch_rest(db, common, simulator.url)
    screen.finish_step(
        f"{follower.decisions} candles live at up to {SPEED:,.0f} times the clock, socket cut "
        f"once, {follower.missed} missed candles filled over REST, 1 trade, stopped cleanly"
    )
    return _read_live(db)


def _fetch_rest(db: Path, common: tuple[str, ...], url: str) -> None:
    """Fetch the candles that closed last, so that the store ends with a closed candle."""
    from onetape.simulator.programs import run_json

    run_json("backfiller", *common, "--simulator-url", url, "--db", str(db), "--days", "30")


class _Follower:
    """Reads the trader's lines: lets market time go on, and cuts the socket after the first buy.

    `decisions` counts the candles that the trader decided on, `missed` the candles that it
    filled over REST after the cut; `is_done` is set after the sale.
    """

    def __init__(self, screen: Screen, simulator: "EmbeddedSimulator", clock: "PacedClock") -> None:
        self._screen = screen
        self._simulator = simulator
        self._clock = clock
        self._has_sold = False
        self._cut_at: int | None = None
        self._is_cut = False
        self.decisions = 0
        self.missed = 0
        self.is_done = False

    def process_line(self, line: str) -> None:
        """Process a line that the trader has printed.

        Raises:
            CheckFailed: the trader made no trade (entry and exit) within `MAX_CANDLES`.
        """
        if ", next " in line:
            self._process_decision(line)
        elif line.startswith(("bought", "sold", "stream", "REST")):
            self._screen.print_detail(line)
        if line.startswith("bought") and self._cut_at is None:
            self._cut_at = self.decisions
            self._is_cut = True
            self._simulator.disconnect(REFUSE_SECONDS)
        self._has_sold = self._has_sold or line.startswith("sold")
        filled = re.match(r"stream is back, (\d+) missed", line)
        if filled:
            self.missed += int(filled[1])

    def _process_decision(self, line: str) -> None:
        self.decisions += 1
        self._screen.show_progress(line)
        if self.decisions > MAX_CANDLES:
            raise CheckFailed(
                f"no trade (entry and exit) within {MAX_CANDLES} candles; please report it"
            )
        if self._is_cut and self.decisions - (self._cut_at or 0) >= CUT_CANDLES:
            self._is_cut = False
            self._simulator.disconnect(0)
        # The candle in which the sale fills is still forming then, so one more decision follows.
        self.is_done = self._has_sold
        if not self.is_done:
            # An order fills at the open after its decision. So the candle after that open may form;
            # the next decision lets it close.
            self._clock.allow_until((self._last_close + 2 * HOUR - FIRST_SECONDS) * 1_000)

    @property
    def _last_close(self) -> int:
        """Return the close time of the candle that was decided on last, epoch seconds.

        The first of these candles closed at `LIVE_FROM`.
        """
        return LIVE_FROM + (self.decisions - 1) * HOUR

    def end_candle(self) -> None:
        """Let the forming candle close once the trader has ended, and wait until it has."""
        end_ms = (self._last_close + HOUR) * 1_000
        self._clock.allow_until(end_ms)
        while self._clock.now_ms() < end_ms:
            time.sleep(0.01)


def _read_live(db: Path) -> LivePart:
    from onetape.store.database import open_store
    from onetape.store.ledger import read_decisions_of_last_session

    with open_store(db, create=False) as store:
        session, decisions = read_decisions_of_last_session(store)
    # A gate is a check that a signal must pass to become an order.
    unblocked = [
        decision for decision in decisions if all(gate == "ok" for gate in decision.gates.values())
    ]
    return LivePart(session.account, unblocked[0].timestamp)


def _compare(screen: Screen, db: Path, common: tuple[str, ...], live: LivePart) -> None:
    """Compare the trader's fills one by one with those of a backtest of the same candles.

    Raises:
        CheckFailed: a fill differs, or one side has more fills.
    """
    from onetape.simulator.programs import run_json
    from onetape.store.database import open_store
    from onetape.store.ledger import read_fills

    screen.begin("paper against backtest")
    document = run_json(
        "backtester",
        *common,
        *_make_strategy_flags(),
        *("--db", str(db), "--no-report", "--from", str(live.first_decision)),
    )
    expected = [fill for trade in document["trades"] for fill in _collect_fills(trade)]
    with open_store(db, create=False) as store:
        fills = read_fills(store, live.account, SYMBOL)
    differences: list[str] = []
    digits = _parse_digits(document)
    for fill, (side, price, amount) in zip(fills, expected, strict=False):
        same = (
            fill.side == side
            and abs(float(fill.price) - price) < 1e-9 * price
            and abs(float(fill.amount) - amount) < 1e-9 * amount
        )
        paper = f"{fill.side} {_format_amount_and_price(digits, fill.amount, fill.price)}"
        backtest = f"{side} {_format_amount_and_price(digits, amount, price)}"
        screen.print_detail(f"paper {paper}: {'equal' if same else f'DIFFERS from {backtest}'}")
        if not same:
            differences.append(f"paper {paper}, backtest {backtest}")
    if len(fills) != len(expected):
        differences.append(f"{len(fills)} fills on paper, {len(expected)} in the backtest")
    equal = len(fills) - len(differences)
    screen.finish_step(
        f"{equal} of {len(fills)} fills on paper equal those of a backtest of the same candles"
    )
    if differences:
        raise CheckFailed(f"the trader's fills differ from the backtest's: {differences[0]}")


def _parse_digits(document: dict[str, Any]) -> "Digits":
    """Return the decimals of prices and amounts that a backtest's document states."""
    from onetape.core.digits import Digits

    return Digits(**document["digits"][SYMBOL])


def _format_amount_and_price(
    digits: "Digits", amount: "float | Decimal", price: "float | Decimal"
) -> str:
    return f"{digits.format_amount(amount)} at {digits.format_price(price)}"


def _collect_fills(trade: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return side, price and amount of the one or two fills of a backtest's trade."""
    fills = [("buy", trade["entry_price"], trade["amount"])]
    if not trade["open_at_end"]:
        fills.append(("sell", trade["exit_price"], trade["amount"]))
    return fills


def _make_strategy_flags() -> list[str]:
    flags = ["--strategy", "rsi"]
    for name, value in PARAMETERS.items():
        flags += ["--param", f"{name}={value}"]
    return flags


def _print_next_steps(screen: Screen, db: Path, report: Path, seconds: float) -> None:
    screen.print_line(f"Done in {seconds:.0f} s; nothing is left running.")
    screen.print_line(f"report:   {report}  (open it in a browser)")
    screen.print_line(f"database: {db}")
    screen.print_line("next, with real prices (no key needed; offline add --exchange simulator):")
    screen.print_line("  uv run backfiller --symbol BTC/USDT")
    screen.print_line("  uv run backtester --from 2024-01-01 --to 2024-06-30")
    screen.print_line("  uv run trader --symbol BTC/USDT --exchange binance --timeframe 1h")


def run() -> NoReturn:
    """Run the program."""
    run_app(app, "demo")


if __name__ == "__main__":
    run()
