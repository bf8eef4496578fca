"""Texts of the reasons why a BUY may not enter after an exit: run of BUYs, cooldown, command.

The rules themselves are the engine's, except that of exits by command, which a backtest does not
have.
"""

from collections.abc import Sequence

from onetape.core.clock import format_utc
from onetape.core.timeframes import Timeframe
from onetape.core.trading import Fill, Session
from onetape.engine import StepRules, SymbolStepState
from onetape.engine.step_state import EntryObstacle
from onetape.store.database import Store
from onetape.store.ledger import read_decided_signals
from onetape.store.orders import read_filled_timestamp, read_order_type
from onetape.strategies import BUY


def describe_entry_obstacle(
    obstacle: EntryObstacle, rules: StepRules, state: SymbolStepState, entered: int | None
) -> str:
    """Return the reason why a BUY on the newest closed candle may not enter.

    Args:
        obstacle: Rule that prevents the entry, of `onetape.engine.find_entry_obstacle`.
        rules: Rules of the account.
        state: State of the rules for the symbol.
        entered: Open of the candle that filled the last entry, epoch seconds, or None.
    """
    if obstacle == "run_used":
        candle = "" if entered is None else f" of {format_utc(entered)}"
        return f"its run of BUYs has led to the entry{candle} already"
    passed = rules.cooldown_bars - state.count_cooldown_left(rules)
    if passed < 0:
        return "a position was left in the candle after it"
    return f"{passed:,} of {rules.cooldown_bars:,} candles of cooldown after the exit"


def find_command_obstacle(
    store: Store, session: Session, fills: Sequence[Fill], timestamp: int
) -> str | None:
    """Return the reason why a BUY may not enter after an exit by command; None: it may.

    The run of BUYs during which a person closed the position enters nothing more, whatever the
    setting `reentry` is.

    Args:
        store: The open database.
        session: Session with the account, symbol and timeframe.
        fills: Fills of the account in the symbol, oldest first.
        timestamp: Open of the candle with the BUY, epoch seconds.

    Raises:
        StoreError: the file cannot be read.
    """
    last = fills[-1] if fills else None
    if (
        last is None
        or last.side != "sell"
        or read_order_type(store, last.client_order_id) != "command"
    ):
        return None
    filled = read_filled_timestamp(store, last.client_order_id)
    if filled is None:
        return None
    before = Timeframe.parse(session.timeframe).floor(filled - 1)
    signals = read_decided_signals(store, session, before, timestamp)
    if before not in signals or any(signal != BUY for signal in signals.values()):
        return None
    return f"its run of BUYs was under way at the exit by command in {format_utc(filled)}"
