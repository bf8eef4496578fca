"""Entries of several symbols at one open: order, waiting for late symbols, slots."""

from collections.abc import Callable, Mapping

import pytest

from onetape.core.candles import Candle
from onetape.core.timeframes import Timeframe
from onetape.engine import (
    AccountConfig,
    CandleClosed,
    CandleForming,
    CandlesOpened,
    ClosedTrade,
    Enter,
    EntryFilled,
    EntryRefused,
    ExitConfig,
    ExitFilled,
    OpenedCandle,
    StepRules,
    StrategySignal,
)
from trader.account_rules import AccountRules

HOUR, START = 3_600, 1_709_251_200
BUY, SELL, HOLD = 1, -1, 0


class RulesHarness:
    """Symbols whose orders to buy are filled at once, in the order of their turns."""

    def __init__(self, rules: AccountRules) -> None:
        self.rules = rules
        self.entered: list[str] = []
        self.drops = 0
        self.failures: list[Exception] = []
        self.refuses: set[str] = set()
        self.breaks: set[str] = set()
        for symbol in rules.rules.symbols:
            rules.attach(symbol, self)

    def enter(self, entry: Enter) -> None:
        if entry.symbol in self.breaks:
            msg = f"no order of {entry.symbol} can be stored"
            raise RuntimeError(msg)
        if entry.symbol in self.refuses:
            self.rules.step(entry.symbol, EntryRefused(entry.symbol))
            return
        self.entered.append(entry.symbol)
        self.rules.step(entry.symbol, EntryFilled(entry.symbol, entry.price))

    def drop_entry(self) -> None:
        self.drops += 1

    def fail(self, error: Exception) -> None:
        self.failures.append(error)

    def close(self, symbol: str, hour: int, signal: int | None) -> None:
        """Close a candle of a symbol, and give its signal, if there is one yet."""
        timestamp = START + hour * HOUR
        self.rules.step(symbol, CandleClosed(symbol, Candle(timestamp, 100, 100, 100, 100, 1)))
        if signal is not None:
            self.signal(symbol, hour, signal)

    def signal(self, symbol: str, hour: int, signal: int) -> None:
        self.rules.step(symbol, StrategySignal(symbol, START + hour * HOUR, signal))

    def open(self, symbol: str, hour: int) -> int:
        """Open a candle of a symbol; return how many exits follow."""
        opened = OpenedCandle(symbol, START + hour * HOUR, 100.0)
        return len(self.rules.step(symbol, CandlesOpened((opened,))))


def make_harness(
    symbols: str = "AB",
    slots: int = 1,
    *,
    wait_seconds: float = 60.0,
    held: str = "",
    exits: ExitConfig | None = None,
    note_late: Callable[[int, Mapping[str, str]], None] | None = None,
) -> RulesHarness:
    account = AccountConfig() if exits is None else AccountConfig(exits=exits)
    rules = StepRules.from_account(account, tuple(symbols), slots)
    hour = Timeframe.parse("1h")
    return RulesHarness(
        AccountRules(rules, hour, wait_seconds=wait_seconds, held=held, note_late=note_late)
    )


def test_an_entry_waits_for_a_late_symbol_that_precedes_it() -> None:
    account = make_harness()
    account.close("B", 0, BUY)
    account.open("B", 1)
    assert account.entered == []
    account.close("A", 0, BUY)
    assert account.entered == []
    assert account.drops == 0
    account.open("A", 1)
    assert account.entered == ["A"]
    # The only place is taken: the order of B is cancelled at once.
    assert account.drops == 1


def test_other_symbols_enter_before_a_late_symbol_without_a_signal_opens() -> None:
    account = make_harness()
    account.close("B", 0, BUY)
    account.open("B", 1)
    account.close("A", 0, None)
    assert account.entered == []
    account.signal("A", 0, HOLD)
    assert account.entered == ["B"]


def test_a_symbol_without_a_trade_in_the_candle_is_not_waited_for() -> None:
    account = make_harness()
    account.close("A", 0, BUY)
    account.close("B", 0, BUY)
    account.open("B", 1)
    assert account.entered == []
    account.rules.note_untraded("A", START + HOUR)
    assert account.entered == ["B"]


def test_an_entry_waits_for_the_exit_that_frees_its_slot() -> None:
    account = make_harness()
    account.close("A", 0, BUY)
    account.close("B", 0, HOLD)
    account.open("A", 1)
    assert account.entered == ["A"]
    account.close("A", 1, SELL)
    account.close("B", 1, BUY)
    account.open("B", 2)
    assert account.entered == ["A"]
    assert account.open("A", 2) == 1
    account.rules.step("A", ExitFilled("A"))
    assert account.entered == ["A", "B"]


def test_entries_wait_at_most_the_maximum_time_and_the_latecomer_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    account = make_harness(wait_seconds=0.0)
    account.close("B", 0, BUY)
    account.open("B", 1)
    assert account.entered == ["B"]
    account.close("A", 0, BUY)
    account.open("A", 1)
    assert account.entered == ["B"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("entries at 2024-03-01 01:00 waited 0 s for A (the candle of ")
    assert "2024-03-01 00:00 is not decided on)" in line


def test_a_latecomer_is_stored_once_and_before_the_entries_that_go_on() -> None:
    noted: list[tuple[int, dict[str, str], int]] = []
    account = make_harness(
        "ABC",
        wait_seconds=0.0,
        note_late=lambda moment, late: noted.append((moment, dict(late), len(account.entered))),
    )
    account.close("B", 0, BUY)
    account.open("B", 1)
    account.close("C", 0, BUY)
    account.open("C", 1)
    ((moment, late, entered),) = noted
    assert (moment, sorted(late), entered) == (START + HOUR, ["A", "C"], 0)


def test_an_exit_waits_for_no_other_symbol() -> None:
    account = make_harness(exits=ExitConfig(stop_loss=0.05), slots=2)
    account.close("A", 0, BUY)
    account.close("B", 0, HOLD)
    account.open("A", 1)
    account.close("A", 1, SELL)
    assert account.open("A", 2) == 1


def test_a_position_takes_its_slot_before_the_state_of_its_symbol_is_restored() -> None:
    account = make_harness(held="A", wait_seconds=0.0)
    account.close("B", 0, BUY)
    account.open("B", 1)
    assert account.entered == []


def test_after_a_refused_entry_the_next_symbol_enters() -> None:
    account = make_harness("ABC")
    account.refuses.add("A")
    for symbol in "ABC":
        account.close(symbol, 0, BUY)
    for symbol in "CBA":
        account.open(symbol, 1)
    assert account.entered == ["B"]


def test_an_error_of_one_symbol_does_not_stop_entries_of_others() -> None:
    account = make_harness("ABC", 3)
    account.breaks.add("B")
    for symbol in "ABC":
        account.close(symbol, 0, BUY)
    for symbol in "CAB":
        account.open(symbol, 1)
    assert account.entered == ["A", "C"]
    assert [str(error) for error in account.failures] == ["no order of B can be stored"]


def test_a_preview_of_an_entry_changes_no_state_of_the_rules() -> None:
    account = make_harness("A")
    account.close("A", 0, BUY)
    ahead = account.rules.copy_for_preview()
    ahead.step("A", CandlesOpened((OpenedCandle("A", START + HOUR, 100.0),)))
    assert account.entered == []
    account.open("A", 1)
    assert account.entered == ["A"]


GUARDED = AccountConfig(
    exits=ExitConfig(stop_loss=0.1),
    stoploss_guard="trade_limit=1,lookback_period_candles=1,stop_duration_candles=1",
)


def make_guarded_harness(closed: list[ClosedTrade]) -> RulesHarness:
    """Return an account of A and B, of which A holds a position when candle 2 opens."""
    rules = StepRules.from_account(GUARDED, ("A", "B"), 2, candle_seconds=HOUR)
    account = RulesHarness(
        AccountRules(
            rules, Timeframe.parse("1h"), wait_seconds=60, read_closed=lambda _: tuple(closed)
        )
    )
    account.close("A", 0, BUY)
    account.close("B", 0, HOLD)
    account.open("A", 1)
    account.close("A", 1, HOLD)
    account.close("B", 1, BUY)
    assert account.entered == ["A"]
    return account


#: The stop of A in candle 2, as stored fills state it.
STOPPED = ClosedTrade("A", START + 2 * HOUR, -0.15, is_stop=True, is_inside=False)


def test_a_stop_at_an_open_drops_the_order_of_another_symbol_at_that_open() -> None:
    closed: list[ClosedTrade] = []
    account = make_guarded_harness(closed)
    assert account.rules.find_pause("B", START + 2 * HOUR) is None
    opened = OpenedCandle("A", START + 2 * HOUR, 85.0)
    assert len(account.rules.step("A", CandlesOpened((opened,)))) == 1
    account.open("B", 2)
    # The entry of B waits for the exit of A.
    assert (account.entered, account.drops) == (["A"], 0)
    closed.append(STOPPED)
    account.rules.step("A", ExitFilled("A"))
    assert (account.entered, account.drops) == (["A"], 1)


def test_a_stop_inside_a_candle_delays_an_entry_at_the_open_of_the_candle() -> None:
    closed: list[ClosedTrade] = []
    account = make_guarded_harness(closed)
    account.open("A", 2)
    fallen = Candle(START + 2 * HOUR, 100.0, 100.0, 85.0, 85.0, 1.0)
    assert len(account.rules.step("A", CandleForming("A", fallen))) == 1
    closed.append(STOPPED)
    account.rules.step("A", ExitFilled("A"))
    account.open("B", 2)
    assert (account.entered, account.drops) == (["A", "B"], 0)
    assert account.rules.find_pause("B", START + 3 * HOUR) is not None
