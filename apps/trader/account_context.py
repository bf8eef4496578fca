"""What the sessions of one account share in one process: rules, money, changes of settings."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from onetape.core.clock import SystemClock
from onetape.engine import StepRules
from onetape.execution.positions import position_of
from onetape.store.latecomers import insert_latecomers
from onetape.store.ledger import trades_of
from trader.account_funds import AccountFunds
from trader.account_rules import AccountRules
from trader.job import Job
from trader.settings_reload import SettingsReload


class AccountContext(Struct, frozen=True):
    """Rules and money of one account, and changes of its settings."""

    rules: AccountRules
    funds: AccountFunds
    reload: SettingsReload


def account_context(jobs: Sequence[Job], now_ms: Callable[[], int] | None = None) -> AccountContext:
    """Return what the sessions of an account share.

    Args:
        jobs: One for each symbol, in the order of entries at one moment; at least one.
        now_ms: Returns the market time, epoch milliseconds; None: this computer's time.
    """
    job = jobs[0]
    read_clock = now_ms or SystemClock().now_ms
    sessions = {one.key.symbol: one.session.session for one in jobs}

    def note_late(moment: int, late: Mapping[str, str]) -> None:
        insert_latecomers(
            job.store,
            {sessions[symbol]: reason for symbol, reason in late.items()},
            moment,
            noted_ms=read_clock(),
            waited_seconds=job.settings.entry_wait_seconds,
        )

    symbols = [one.key.symbol for one in jobs]
    rules = AccountRules(
        StepRules.of(job.rules, symbols, job.settings.max_open_trades),
        job.timeframe,
        wait_seconds=job.settings.entry_wait_seconds,
        held=[one.key.symbol for one in jobs if _has_position(one)],
        most_positions=job.settings.max_open_trades,
        note_late=note_late,
    )
    return AccountContext(
        rules,
        AccountFunds(job.store, job.session.account, job.session.mode, rules),
        SettingsReload(jobs, rules, lambda: not any(_has_position(one) for one in jobs)),
    )


def _has_position(job: Job) -> bool:
    session, market = job.session, job.market
    trades = trades_of(
        job.store, session.account, job.key.symbol, exchange=job.key.exchange, mode=session.mode
    )
    return not position_of(trades, market.base, market.quote, market.steps).is_flat
