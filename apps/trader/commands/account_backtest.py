"""The configuration of a backtest with an account's candles, strategy and rules."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from onetape.backtest.config import BacktestConfig, StrategyChoice
from onetape.core.errors import OnetapeError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.engine import AccountConfig, ExitConfig
from onetape.store.account_reading import StoredSession
from onetape.store.accounts import AccountSeries
from trader.strategy_origin import ORIGIN


def parse_account_config(rules: Mapping[str, Any], cash: float) -> AccountConfig:
    """Return the account configuration that the stored rules of a session describe.

    Args:
        rules: Settings of order size, costs and exits, as the column `sessions.rules` has them;
            other names are ignored.
        cash: Start balance, quote currency.
    """
    own = {
        name for name in AccountConfig.__struct_fields__ if name not in ("exits", "trading_rules")
    }
    exits = {name: rules[name] for name in ExitConfig.__struct_fields__ if name in rules}
    values = {name: value for name, value in rules.items() if name in own}
    return msgspec.convert(
        {**values, "cash": cash, "exits": exits}, AccountConfig, strict=False, str_keys=True
    )


def find_strategy_choice(session: StoredSession, names: Iterable[str | None]) -> StrategyChoice:
    """Return a name and parameters that load the strategy of a session, from its present file.

    A session stores the name that the strategy's code states, which may differ from the name of its
    file. So several names are tried: the first of `names`, the stored file, the others of `names`,
    and the stored name.

    Args:
        session: Session with strategy and parameters.
        names: The name that a person gave, or None; then the names in the settings.

    Raises:
        UsageError: none of the names loads a strategy of the session's name.
    """
    parameters = {
        name: str(value) for name, value in session.parameters.items() if value is not None
    }
    failure: OnetapeError | None = None
    stored = str(session.rules.get(ORIGIN, ""))
    given, *others = [*names] or [None]
    for name in filter(None, dict.fromkeys([given, stored, *others, session.strategy])):
        choice = StrategyChoice(name, parameters, USER_FOLDER)
        try:
            if choice.load().name == session.strategy:
                return choice
        except OnetapeError as error:
            failure = failure or error
    why = "" if failure is None else f" ({failure})"
    raise UsageError(
        f"the strategy {session.strategy!r} of account {session.account!r} cannot be loaded by "
        f"its name{why}; name it with --strategy, such as user/strategies/mine.py:Mine"
    ) from failure


def make_backtest_config(
    database: Path,
    traded: Sequence[AccountSeries],
    session: StoredSession,
    choices: Sequence[StrategyChoice],
    start: int,
    end: int,
) -> BacktestConfig:
    """Return the configuration of a backtest of an account's trading in a range.

    Args:
        database: The file that was traded with.
        traded: The account, one record for each symbol, in the order of entries at one moment.
        session: Session whose costs, sizes and exits are used.
        choices: Strategy and parameters of each symbol, in the same order.
        start: Open of the first candle that is decided on, epoch seconds.
        end: End of the range, epoch seconds, exclusive.
    """
    first = traded[0]
    most = session.rules.get("max_open_trades")
    balance = first.start_balance
    return BacktestConfig(
        exchange=first.exchange,
        symbols=tuple(one.symbol for one in traded),
        timeframe=first.timeframe,
        start=start,
        end=end,
        strategy=choices[0],
        own_strategies={
            one.symbol: choice
            for one, choice in zip(traded, choices, strict=True)
            if choice != choices[0]
        },
        account=parse_account_config(
            session.rules, 10_000.0 if balance is None else float(balance)
        ),
        max_open_trades=most if isinstance(most, int) else None,
        allow_gaps=True,
        check=False,
        database=database,
        db_flag=database,
    )
