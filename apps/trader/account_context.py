"""Objects that the sessions of an account in one process share: rules, money, commands, settings.

Each symbol of the account has its own session (`session_context`); what concerns several
symbols is built here, once.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from onetape.core.clock import SystemClock
from onetape.engine import StepRules
from onetape.execution.positions import sum_position
from onetape.store.latecomers import insert_latecomers
from onetape.store.ledger import read_fills
from trader.account_commands import AccountCommands
from trader.account_funds import AccountFunds
from trader.account_rules import AccountRules
from trader.closed_trades import ClosedTrades
from trader.pending_decisions import PendingDecisions
from trader.session_context import SessionContext
from trader.settings_reload import SettingsReload


class AccountContext(Struct, frozen=True):
    """Objects of one account that all its sessions in this process use."""

    rules: AccountRules
    """Trading rules of all symbols, with the slots that they share."""
    funds: AccountFunds
    """Money that entries may spend."""
    reload: SettingsReload
    """Applies a changed settings file."""
    commands: AccountCommands
    """Commands of persons to the account."""
    pending: PendingDecisions
    """Symbols that are being decided on now."""


def build_account_context(
    contexts: Sequence[SessionContext], now_ms: Callable[[], int] | None = None
) -> AccountContext:
    """Return the context that the sessions of an account share.

    Args:
        contexts: Context of each symbol, in the order of entries at one moment; at least one.
        now_ms: Returns the market time, epoch milliseconds; None: this computer's time.
    """
    context = contexts[0]
    read_clock = now_ms or SystemClock().now_ms
    sessions = {one.key.symbol: one.session.session for one in contexts}

    def note_late(moment: int, late: Mapping[str, str]) -> None:
        insert_latecomers(
            context.store,
            {sessions[symbol]: reason for symbol, reason in late.items()},
            moment,
            noted_ms=read_clock(),
            waited_seconds=context.settings.entry_wait_seconds,
        )

    symbols = [one.key.symbol for one in contexts]
    rules = AccountRules(
        StepRules.from_account(
            context.rules,
            symbols,
            context.settings.max_open_trades,
            candle_seconds=context.timeframe.average_seconds,
        ),
        context.timeframe,
        wait_seconds=context.settings.entry_wait_seconds,
        held=[one.key.symbol for one in contexts if _has_position(one)],
        most_positions=context.settings.max_open_trades,
        note_late=note_late,
        read_closed=ClosedTrades(
            context.store, context.session.account, context.session.mode, context.timeframe
        ).read,
    )
    return AccountContext(
        rules,
        AccountFunds(context.store, context.session.account, context.session.mode, rules),
        SettingsReload(contexts, rules, lambda: not any(_has_position(one) for one in contexts)),
        AccountCommands(context.store, context.session.account, symbols),
        PendingDecisions(),
    )


def _has_position(context: SessionContext) -> bool:
    """Return whether the stored fills of a symbol add up to a position."""
    session, market = context.session, context.market
    fills = read_fills(
        context.store,
        session.account,
        context.key.symbol,
        exchange=context.key.exchange,
        mode=session.mode,
    )
    return not sum_position(fills, market.base, market.quote, market.trading_rules).is_flat
