"""What the sessions of one account share in one process: rules, money, changes of settings."""

from collections.abc import Sequence

from msgspec import Struct

from onetape.engine import StepRules
from onetape.execution.positions import position_of
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


def account_context(jobs: Sequence[Job]) -> AccountContext:
    """Return what the sessions of an account share.

    Args:
        jobs: One for each symbol, in the order of entries at one moment; at least one.
    """
    job = jobs[0]
    symbols = [one.key.symbol for one in jobs]
    rules = AccountRules(
        StepRules.of(job.rules, symbols, job.settings.max_open_trades),
        job.timeframe,
        wait_seconds=job.settings.entry_wait_seconds,
        held=[one.key.symbol for one in jobs if _has_position(one)],
        most_positions=job.settings.max_open_trades,
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
