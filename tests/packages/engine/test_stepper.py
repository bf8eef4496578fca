"""Orders in flight, forming candles and events out of order, one event at a time."""

import pytest

from onetape.core.candles import Candle
from onetape.engine import (
    AccountConfig,
    CandleClosed,
    CandleFacts,
    CandleForming,
    CandlesOpened,
    Enter,
    EntryFilled,
    EntryRefused,
    Exit,
    ExitConfig,
    ExitDue,
    ExitFilled,
    ExitRefused,
    ExitSent,
    Intent,
    OpenedCandle,
    StepEvent,
    StepRules,
    StepState,
    StrategySignal,
    restore_state,
    step,
)

BUY, SELL, HOLD = 1, -1, 0
FLAT = Candle(0, 100, 100, 100, 100, 1)
PLAIN = AccountConfig()
EXITS = ExitConfig(stop_loss=0.05, take_profit=0.1)


class StepperAccount:
    """The state of an account, advanced by events of its symbols."""

    def __init__(
        self, account: AccountConfig, symbols: str = "A", slots: int | None = None
    ) -> None:
        self.rules = StepRules.from_account(account, tuple(symbols), slots)
        self.state = StepState.make_flat(self.rules)

    def on(self, event: StepEvent) -> list[Intent]:
        self.state, intents = step(self.rules, self.state, event)
        return intents

    def open(self, number: int, *symbols: str, price: float = 100.0) -> list[Intent]:
        """Open candle `number` of each symbol with a trade."""
        opened = tuple(OpenedCandle(symbol, number * 60, price) for symbol in symbols or "A")
        return self.on(CandlesOpened(opened))

    def close(
        self, number: int, signal: int, symbol: str = "A", *, low: float = 100
    ) -> list[Intent]:
        """Close candle `number` of a symbol, which may fall to a low, and give its signal."""
        candle = Candle(number * 60, 100, 100, low, 100, 1)
        intents = self.on(CandleClosed(symbol, candle))
        return intents + self.on(StrategySignal(symbol, number * 60, signal))

    def buy(self, symbol: str = "A") -> None:
        """Buy at the open of candle 1."""
        self.close(0, BUY, symbol)
        assert self.open(1, symbol) == [Enter(symbol, 60, 100.0)]
        assert self.on(EntryFilled(symbol, 100.0)) == []

    def forms(self, number: int, high: float, low: float, close: float) -> list[Intent]:
        candle = Candle(number * 60, 100, high, low, close, 1)
        return self.on(CandleForming("A", candle))


def make_account_with_both_due(slots: int | None) -> StepperAccount:
    """Return an account that holds B, with a SELL of B and a BUY of A due at candle 2."""
    account = StepperAccount(AccountConfig(), "AB", slots)
    account.buy("B")
    account.close(1, SELL, "B")
    account.close(1, BUY, "A")
    return account


def test_an_entry_waits_for_the_exit_at_the_same_open() -> None:
    account = make_account_with_both_due(slots=None)
    assert account.open(2, "A", "B") == [Exit("B", 120, "signal", 100.0, is_ambiguous=False)]
    assert account.on(ExitFilled("B")) == [Enter("A", 120, 100.0)]


def test_an_entry_that_finds_all_slots_taken_after_a_refused_exit_is_dropped() -> None:
    account = make_account_with_both_due(slots=1)
    account.open(2, "A", "B")
    assert account.on(ExitRefused("B")) == []
    account.close(2, HOLD, "A")
    account.close(2, HOLD, "B")
    assert account.open(3, "A") == []


def test_an_entry_is_dropped_if_exits_are_in_flight_until_its_candle_closes() -> None:
    account = make_account_with_both_due(slots=1)
    account.open(2, "A", "B")
    account.close(2, HOLD, "A")
    assert account.on(ExitFilled("B")) == []
    assert account.open(3, "A") == []


def test_a_slot_that_is_freed_inside_a_candle_is_free_from_the_next_open_on() -> None:
    account = StepperAccount(AccountConfig(exits=EXITS), "AB", 1)
    account.buy("A")
    for symbol in "AB":
        account.close(1, HOLD if symbol == "A" else BUY, symbol)
    account.open(2, "A")
    (stop,) = account.forms(2, 100, 90, 90)
    assert isinstance(stop, Exit)
    account.on(ExitFilled("A"))
    assert account.open(2, "B") == []
    account.close(2, BUY, "B")
    assert account.open(3, "B") == [Enter("B", 180, 100.0)]


def test_entries_that_were_held_back_are_returned_with_a_later_event() -> None:
    account = StepperAccount(AccountConfig(), "AB", 1)
    account.close(0, BUY, "B")
    opened = CandlesOpened((OpenedCandle("B", 60, 100.0),))
    account.state, intents = step(account.rules, account.state, opened, entries="later")
    assert intents == []
    assert account.on(CandlesOpened(())) == [Enter("B", 60, 100.0)]


def test_an_exit_in_flight_delays_entries_only_up_to_the_maximum_wait() -> None:
    account = make_account_with_both_due(slots=None)
    account.open(2, "A", "B")
    account.state, intents = step(
        account.rules, account.state, CandlesOpened(()), entries="at_once"
    )
    assert intents == [Enter("A", 120, 100.0)]


def test_a_refused_entry_frees_its_slot_for_the_next_symbol() -> None:
    account = StepperAccount(AccountConfig(), "AB", 1)
    for symbol in "AB":
        account.close(0, BUY, symbol)
    assert account.open(1, "A", "B") == [Enter("A", 60, 100.0)]
    assert account.on(EntryRefused("A")) == [Enter("B", 60, 100.0)]


def make_entry_in_flight(signal: int) -> StepperAccount:
    """Return an account whose entry of candle 1 is in flight when that candle's signal comes."""
    account = StepperAccount(AccountConfig())
    account.close(0, BUY)
    account.open(1)
    account.close(1, signal)
    return account


def test_a_sell_while_the_entry_is_in_flight_is_due_once_the_entry_is_filled() -> None:
    account = make_entry_in_flight(SELL)
    account.on(EntryFilled("A", 100.0))
    assert account.open(2) == [Exit("A", 120, "signal", 100.0, is_ambiguous=False)]


def test_a_sell_while_the_entry_is_in_flight_ends_once_the_entry_is_refused() -> None:
    account = make_entry_in_flight(SELL)
    account.on(EntryRefused("A"))
    assert account.open(2) == []


def test_a_buy_while_the_entry_is_in_flight_is_due_once_the_entry_is_refused() -> None:
    account = make_entry_in_flight(BUY)
    account.on(EntryRefused("A"))
    assert account.open(2) == [Enter("A", 120, 100.0)]


def make_stop_in_flight(account: AccountConfig) -> StepperAccount:
    """Return an account whose stop of candle 2 is in flight, with a BUY on that candle."""
    stepping = StepperAccount(account)
    stepping.buy()
    stepping.close(1, HOLD)
    stepping.open(2)
    (stop,) = stepping.close(2, BUY, low=90)
    assert isinstance(stop, Exit)
    assert stop.kind == "stop_loss"
    return stepping


def test_a_buy_while_the_exit_is_in_flight_is_due_once_the_exit_is_filled() -> None:
    account = make_stop_in_flight(AccountConfig(exits=EXITS))
    account.on(ExitFilled("A"))
    assert account.open(3) == [Enter("A", 180, 100.0)]


def test_a_buy_while_the_exit_is_in_flight_ends_once_the_exit_is_refused() -> None:
    account = make_stop_in_flight(AccountConfig(exits=EXITS))
    account.on(ExitRefused("A"))
    assert account.open(3) == []


def test_a_buy_while_the_exit_is_in_flight_is_delayed_by_the_cooldown() -> None:
    account = make_stop_in_flight(AccountConfig(exits=EXITS, cooldown_bars=1))
    account.on(ExitFilled("A"))
    assert account.open(3) == []


def test_a_fill_that_is_reported_late_counts_for_the_candle_that_it_happened_in() -> None:
    account = make_stop_in_flight(AccountConfig(exits=EXITS, cooldown_bars=1))
    assert account.open(3) == []
    assert account.on(ExitFilled("A", 120)) == []
    assert account.close(3, BUY) == []
    assert account.open(4) == [Enter("A", 240, 100.0)]


def test_a_buy_whose_open_has_come_while_the_exit_was_in_flight_enters_once_it_is_filled() -> None:
    account = make_stop_in_flight(AccountConfig(exits=EXITS))
    assert account.open(3) == []
    assert account.on(ExitFilled("A", 120)) == [Enter("A", 180, 100.0)]


def test_a_buy_is_dropped_where_the_exit_was_filled_in_the_candle_that_has_opened() -> None:
    account = make_stop_in_flight(AccountConfig(exits=EXITS))
    assert account.open(3) == []
    assert account.on(ExitFilled("A", 180)) == []
    assert account.close(3, BUY) == []
    assert account.open(4) == [Enter("A", 240, 100.0)]


def test_a_stop_that_a_forming_candle_reached_sells_at_once() -> None:
    account = StepperAccount(AccountConfig(exits=EXITS))
    account.buy()
    (stop,) = account.forms(1, high=100, low=94, close=94)
    assert isinstance(stop, Exit)
    assert (stop.kind, round(stop.price, 9)) == ("stop_loss", 95.0)
    assert account.forms(1, high=100, low=93, close=93) == []


def test_a_target_that_a_forming_candle_reached_waits_for_its_close() -> None:
    account = StepperAccount(AccountConfig(exits=EXITS))
    account.buy()
    assert account.forms(1, high=111, low=100, close=111) == []
    (target,) = account.on(CandleClosed("A", Candle(60, 100, 111, 100, 105, 1)))
    assert isinstance(target, Exit)
    assert target.kind == "target"


def test_a_target_that_prices_reached_unwatched_sells_before_the_close() -> None:
    account = StepperAccount(AccountConfig(exits=EXITS))
    account.buy()
    passed = Candle(60, 100, 111, 100, 105, 1)
    (target,) = account.on(CandleForming("A", passed, is_unwatched=True))
    assert isinstance(target, Exit)
    assert target.kind == "target"


def make_late_account(account: AccountConfig = PLAIN) -> StepperAccount:
    """Return an account that holds A, with candle 1 closed and candle 2 open, undecided."""
    stepping = StepperAccount(account)
    stepping.buy()
    stepping.on(CandleClosed("A", FLAT._replace(timestamp=60)))
    stepping.open(2, price=101.0)
    return stepping


def test_a_sell_that_comes_after_the_next_open_sells_at_that_open() -> None:
    sold = make_late_account().on(StrategySignal("A", 60, SELL))
    assert sold == [Exit("A", 120, "signal", 101.0, is_ambiguous=False)]


def test_a_sell_that_comes_after_the_next_close_is_due_at_the_open_after_it() -> None:
    account = make_late_account()
    account.on(CandleClosed("A", FLAT._replace(timestamp=120)))
    assert account.on(StrategySignal("A", 60, SELL)) == []
    assert account.on(StrategySignal("A", 120, HOLD)) == []
    assert account.open(3) == [Exit("A", 180, "signal", 100.0, is_ambiguous=False)]


def test_a_signal_older_than_a_later_one_is_refused() -> None:
    account = StepperAccount(AccountConfig())
    account.on(CandleClosed("A", FLAT))
    account.close(1, BUY)
    with pytest.raises(ValueError, match="signal of candle 0"):
        account.on(StrategySignal("A", 0, SELL))


def test_a_buy_that_comes_after_the_next_open_enters_at_that_open() -> None:
    account = StepperAccount(AccountConfig())
    account.on(CandleClosed("A", FLAT))
    account.open(1, price=101.0)
    assert account.on(StrategySignal("A", 0, BUY)) == [Enter("A", 60, 101.0)]


def test_a_buy_that_comes_after_the_next_close_enters_nothing() -> None:
    account = StepperAccount(AccountConfig())
    account.on(CandleClosed("A", FLAT))
    account.on(CandleClosed("A", FLAT._replace(timestamp=60)))
    account.on(StrategySignal("A", 0, BUY))
    assert account.open(2) == []


def test_a_late_buy_does_not_enter_in_the_candle_of_an_exit() -> None:
    account = make_late_account(AccountConfig(exits=EXITS))
    assert len(account.forms(2, high=101, low=90, close=90)) == 1
    account.on(ExitFilled("A"))
    assert account.on(StrategySignal("A", 60, BUY)) == []


def test_an_exit_that_falls_due_in_a_candle_sells_at_its_next_price() -> None:
    account = StepperAccount(AccountConfig())
    account.buy()
    account.on(ExitDue("A"))
    sold = account.forms(1, high=103, low=99, close=102)
    assert sold == [Exit("A", 60, "signal", 102.0, is_ambiguous=False)]


def test_a_due_exit_waits_through_candles_without_a_trade() -> None:
    account = StepperAccount(AccountConfig())
    account.buy()
    account.close(1, SELL)
    for number in range(2, 5):
        assert account.close(number, BUY) == []
    assert account.open(5, price=80.0) == [Exit("A", 300, "signal", 80.0, is_ambiguous=False)]


def test_a_buy_that_may_not_enter_does_not_use_up_its_run() -> None:
    account = StepperAccount(AccountConfig())
    account.on(CandleClosed("A", Candle(0, 100, 100, 100, 100, 1)))
    account.on(StrategySignal("A", 0, BUY, can_enter=False))
    assert account.open(1) == []
    account.close(1, BUY)
    assert account.open(2) == [Enter("A", 120, 100.0)]


def restore_account(account: AccountConfig, *facts: CandleFacts) -> StepperAccount:
    """Return an account after a BUY, its entry at the next candle, and more stored candles."""
    entered = CandleFacts(FLAT._replace(timestamp=60), entry_price=100.0)
    stepping = StepperAccount(account)
    rows = [CandleFacts(FLAT, signal=BUY), entered, *facts]
    stepping.state = restore_state(stepping.rules, {"A": rows})
    return stepping


def test_a_restored_sell_that_waits_for_a_trade_is_still_due() -> None:
    waits = CandleFacts(FLAT._replace(timestamp=180), has_trade=False)
    sold = CandleFacts(FLAT._replace(timestamp=120), signal=SELL)
    account = restore_account(AccountConfig(), sold, waits)
    assert account.open(4) == [Exit("A", 240, "signal", 100.0, is_ambiguous=False)]


def test_a_restored_position_whose_exit_was_refused_has_no_stop() -> None:
    refused = CandleFacts(FLAT._replace(timestamp=120), exit="refused")
    account = restore_account(AccountConfig(exits=EXITS), refused)
    assert account.open(3, price=50.0) == []


def test_a_restored_entry_in_the_open_candle_can_be_stopped_in_it() -> None:
    account = StepperAccount(AccountConfig(exits=EXITS))
    opened = CandleFacts(FLAT._replace(timestamp=60), entry_price=100.0, is_open=True)
    account.state = restore_state(account.rules, {"A": [CandleFacts(FLAT, signal=BUY), opened]})
    (stop,) = account.forms(1, high=100, low=94, close=94)
    assert isinstance(stop, Exit)
    assert stop.kind == "stop_loss"


def test_a_position_that_a_person_sells_is_not_sold_twice() -> None:
    account = StepperAccount(AccountConfig(exits=EXITS))
    account.buy()
    account.on(ExitSent("A"))
    assert account.forms(1, high=100, low=90, close=90) == []
    account.on(ExitFilled("A"))
    assert account.state.symbols["A"].position is None


@pytest.mark.parametrize(
    "event",
    [
        CandlesOpened((OpenedCandle("A", 60, 100.0),)),
        CandleForming("A", Candle(120, 100, 100, 100, 100, 1)),
        CandleClosed("A", Candle(120, 100, 100, 100, 100, 1)),
        CandleClosed("A", Candle(0, 100, 100, 100, 100, 1)),
        StrategySignal("A", 60, BUY),
        EntryFilled("A", 100.0),
        EntryRefused("A"),
        ExitFilled("A"),
        ExitRefused("A"),
        ExitSent("A"),
    ],
)
def test_an_event_that_does_not_match_the_open_candle_is_refused(event: StepEvent) -> None:
    account = StepperAccount(AccountConfig())
    account.close(0, HOLD)
    account.open(1)
    with pytest.raises(ValueError, match="A"):
        account.on(event)


@pytest.mark.parametrize(
    "event",
    [
        CandleForming("A", Candle(0, 100, 100, 100, 100, 1)),
        CandleClosed("A", Candle(0, 100, 100, 100, 100, 1)),
        CandlesOpened((OpenedCandle("A", 0, 100.0),)),
        StrategySignal("A", 60, BUY),
    ],
)
def test_an_event_of_another_candle_than_the_closed_one_is_refused(event: StepEvent) -> None:
    account = StepperAccount(AccountConfig())
    account.close(0, HOLD)
    with pytest.raises(ValueError, match="A"):
        account.on(event)
