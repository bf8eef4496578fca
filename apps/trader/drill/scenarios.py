"""The scenarios of a drill: each function plays one fault, and raises if the trader fails.

A function acts on a `Scene`: it closes candles with a BUY or SELL, adds faults to the simulator,
kills and restarts the trader, and waits until the position has its stop or is sold.
"""

import resource
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec import Struct

from onetape.execution.protection import round_down
from onetape.simulator.trading.account_service import AccountService
from onetape.simulator.trading.keys import ApiKey
from trader.drill.scene import ACT_SECONDS, RESOLVE_SECONDS, Scene, SceneFailed
from trader.drill.trader_process import SIMULATOR_KEY

#: Maximum time in which the trader must report or react to a fault, wall seconds.
NOTICE_SECONDS: Final = 60.0
#: Length that no file of a trader with a full disk may exceed, bytes; its exit journal is as long.
_FULL_DISK_BYTES: Final = 32_768
#: Time by which the exchange's clock jumps ahead, market seconds.
_JUMP_SECONDS: Final = 30.0
#: Maximum time until a stop that was refused rests again, wall seconds.
_STOP_AGAIN_SECONDS: Final = 45.0


class Scenario(Struct, frozen=True):
    """A fault that a drill plays, with its name in the result."""

    name: str
    play: Callable[[Scene], None]
    """Plays the fault; raises SceneFailed if the trader does not do what it should."""
    is_for_linux: bool = False
    """Whether the scenario can be played on Linux only."""

    @property
    def is_playable(self) -> bool:
        """Return whether the scenario can be played on this computer."""
        return sys.platform == "linux" or not self.is_for_linux


def trade(scene: Scene) -> None:
    """Enter, place the stop, and sell, without a fault."""
    scene.enter()
    scene.sell_position()


def kill_before_arrival(scene: Scene) -> None:
    """Kill the trader while its order is on the way; the order never arrives."""
    scene.add_order_fault("timeout", when="before")
    scene.signal_buy()
    scene.wait_for_faults()
    scene.kill()
    scene.restart()
    waited = scene.wait_until(
        lambda: scene.trader.has_line("the order (buy) never arrived"),
        RESOLVE_SECONDS,
        "the order that never arrived is found absent",
    )
    scene.observations.append(f"order found absent after {waited:.0f} s, not sent again")
    scene.enter(1)
    scene.sell_position(1)


def kill_after_send(scene: Scene) -> None:
    """Kill the trader after its order was filled and before it has read the fill."""
    scene.add_order_fault("timeout", when="after")
    scene.signal_buy()
    scene.wait_for_faults()
    scene.kill()
    scene.restart()
    scene.wait_until_protected("after the restart")
    scene.sell_position()


def kill_during_exit(scene: Scene) -> None:
    """Kill the trader when the stop is cancelled and the coins are not sold yet."""
    scene.enter()
    scene.add_order_fault("timeout", method="DELETE", when="after")
    scene.signal_sell()
    scene.wait_for_faults()
    scene.kill()
    scene.restart()
    scene.wait_until_flat("after the restart")


def kill_after_sell(scene: Scene) -> None:
    """Kill the trader after its sell was filled and before it has read the fill."""
    scene.enter()
    scene.add_order_fault("timeout", when="after")
    scene.signal_sell()
    scene.wait_for_faults()
    scene.kill()
    scene.restart()
    scene.wait_until_flat("after the restart")
    if (sold := scene.read_records().count_sells()) != 1:
        raise SceneFailed(f"sold {sold} times")


def lose_response(scene: Scene) -> None:
    """Lose the response to the entry; the trader runs on."""
    scene.add_order_fault("timeout", when="after")
    scene.signal_buy()
    scene.wait_until_protected("after the entry whose response was lost")
    scene.sell_position()


def silence_stream(scene: Scene) -> None:
    """Interrupt the messages of the candle stream with a position, and send the SELL meanwhile."""
    scene.enter()
    fault = scene.simulator.faults.add(kind="ws_silence", stream="*@kline_*")
    scene.sell_position(seconds=NOTICE_SECONDS)
    scene.simulator.faults.remove(fault)
    if not scene.simulator.faults.log:
        raise SceneFailed(
            "the fault of the silent stream did not act: the stream had nothing to send"
        )


def lose_fills(scene: Scene) -> None:
    """Respond to orders without their fills, and send no fill on the stream."""
    scene.simulator.faults.add(kind="ack_only")
    scene.simulator.faults.add(kind="fills", shape="lost")
    scene.enter()
    scene.sell_position()


def report_fills_twice(scene: Scene) -> None:
    """Report each fill twice."""
    scene.simulator.faults.add(kind="fills", shape="duplicated")
    scene.enter()
    scene.sell_position()


def sell_by_hand(scene: Scene) -> None:
    """Cancel the stop and sell the coins by hand: the trader must stop trading them."""
    scene.enter()

    def sell(account: AccountService) -> None:
        market = next(one for one in account.exchange.symbols if one.name == scene.symbol)
        account.cancel_by_hand(scene.symbol)
        free = Decimal(str(account.get_balances()[scene.base]["free"]))
        amount = round_down(free, Decimal(1).scaleb(-market.amount_digits))
        account.trade_by_hand("SELL", scene.symbol, quantity=amount)

    scene.run_on_account(sell)
    waited = scene.wait_until(
        lambda: scene.trader.has_line("halted", "coins are missing"),
        NOTICE_SECONDS,
        "the trader halts because coins are missing",
    )
    scene.observations.append(f"halted {waited:.0f} s after the sell by hand")
    orders = len(scene.read_records().own)
    scene.signal_sell()
    scene.wait(3.0)
    if len(scene.read_records().own) != orders:
        raise SceneFailed("the trader sent an order although coins are missing")
    scene.is_sold_by_hand = True


def revoke_key(scene: Scene) -> None:
    """Revoke the key with a position: the stop stays, and the exit comes with the key."""
    scene.enter()
    scene.run_on_account(lambda account: account.keys.revoke(SIMULATOR_KEY))
    scene.signal_sell()
    waited = scene.wait_until(
        lambda: scene.trader.has_line("the API key is not accepted"),
        NOTICE_SECONDS,
        "the trader reports that the key is refused",
    )
    scene.observations.append(f"reported after {waited:.0f} s, stop in place")
    if not scene.is_protected or not scene.trader.is_running:
        raise SceneFailed("without the key the position has no stop, or the trader has ended")
    key = ApiKey(SIMULATOR_KEY, SIMULATOR_KEY)
    scene.run_on_account(lambda account: account.keys.add(key))
    scene.wait_until_flat("after the key was back", NOTICE_SECONDS)


def refuse_stop(scene: Scene) -> None:
    """Refuse the stop: the trader must sell nothing, watch the level, and place the stop again."""
    scene.add_order_fault("status", status=400, code=-2010, nth=2)
    scene.signal_buy()
    scene.wait_until(
        lambda: scene.trader.has_line("no stop at the exchange"),
        ACT_SECONDS,
        "the trader reports that the stop was refused",
    )
    if scene.read_held_coins() <= 0:
        raise SceneFailed("the refused stop has sold the position")
    waited = scene.wait_until(
        lambda: scene.is_protected, _STOP_AGAIN_SECONDS, "the stop is tried again"
    )
    scene.observations.append(f"level watched here, stop on the exchange after {waited:.0f} s")
    scene.sell_position()


def fill_disk(scene: Scene) -> None:
    """Allow no file to grow with a position: no order is sent unstored, and the exit is late."""
    scene.enter()
    orders = len(scene.read_records().own)
    unlimited = resource.RLIM_INFINITY
    limits = (_FULL_DISK_BYTES, unlimited)
    resource.prlimit(scene.trader.pid, resource.RLIMIT_FSIZE, limits)
    scene.signal_sell()
    waited = scene.wait_until(
        lambda: scene.trader.has_line("degraded: ", ".db"),
        NOTICE_SECONDS,
        "the trader reports that the file cannot be written",
    )
    scene.observations.append(f"noticed after {waited:.0f} s, nothing sent, stop in place")
    if len(scene.read_records().own) != orders or not scene.is_protected:
        raise SceneFailed("an order was sent although the disk is full, or there is no stop")
    resource.prlimit(scene.trader.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    scene.wait_until_flat("after there was room again", NOTICE_SECONDS)


def move_clock_ahead(scene: Scene) -> None:
    """Move the exchange's clock ahead at the entry, and beyond the SELL with a position."""
    fault = scene.simulator.faults.add(kind="clock_skew", seconds=_JUMP_SECONDS)
    scene.signal_buy()
    scene.wait_until(
        lambda: scene.trader.has_line("entry: ", "refused") or scene.read_held_coins() > 0,
        ACT_SECONDS,
        "the entry is refused or filled",
    )
    refused = scene.read_held_coins() == 0
    scene.simulator.faults.remove(fault)
    scene.observations.append(
        f"entry {'refused and not sent again' if refused else 'filled'} {_JUMP_SECONDS:.0f} s ahead"
    )
    number = 1 if refused else 0
    if refused:
        scene.wait(3.0)
        scene.enter(1)
    else:
        scene.wait_until_protected("after the entry")
    timeframe = scene.schedule.timeframe
    scene.close_candle(timeframe.shift(scene.schedule.sells[number], 3))
    scene.wait_until_flat("after a jump of 4 candles")


#: All scenarios, in the order in which they are played.
SCENARIOS: Final = (
    Scenario("entry, stop and exit", trade),
    Scenario("killed, order never arrives", kill_before_arrival),
    Scenario("killed after the send", kill_after_send),
    Scenario("killed with the stop cancelled", kill_during_exit),
    Scenario("killed after the sell", kill_after_sell),
    Scenario("response lost", lose_response),
    Scenario("stream silent", silence_stream),
    Scenario("fills lost", lose_fills),
    Scenario("fills doubled", report_fills_twice),
    Scenario("sold by hand", sell_by_hand),
    Scenario("key revoked", revoke_key),
    Scenario("stop refused", refuse_stop),
    Scenario("disk full", fill_disk, is_for_linux=True),
    Scenario("clock jumps", move_clock_ahead),
)
