"""The record of a session: strategy, its file, and the rules that it trades by."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from msgspec import structs

from onetape.core.candles import SeriesKey
from onetape.core.trading import Session
from onetape.store.marked_decisions import INFORMATIVE
from trader.evaluator.messages import LoadedStrategy
from trader.evaluator.results import StrategyEvaluator
from trader.live.start_plan import StartPlan
from trader.settings import TraderSettings
from trader.settings_reload import make_session_rules
from trader.strategy_origin import ORIGIN, find_loaded_origin, get_stored_origin, make_params_origin


def choose_session_strategy(
    plan: StartPlan, symbol: str, evaluator: StrategyEvaluator
) -> tuple[LoadedStrategy, Mapping[str, Any]]:
    """Return the strategy that the session of a symbol stores, and the rules of its origin.

    If a stand-in trades for a strategy that cannot be loaded, the session stores name, parameters
    and file of that strategy.
    """
    strategy, name = evaluator.strategy, plan.stand_ins.get(symbol)
    session = plan.sessions.get(symbol)
    if name is None:
        before = get_stored_origin(session)
        run = make_params_origin(plan.settings, evaluator.settings, before)
        return strategy, {ORIGIN: find_loaded_origin(evaluator), **run}
    parameters = {} if session is None else dict(session.parameters)
    return structs.replace(strategy, name=name, parameters=parameters), get_stored_origin(session)


def _make_informative_rule(key: SeriesKey, strategy: LoadedStrategy) -> dict[str, list[str]]:
    """Return the rule with the symbols of other markets that a strategy reads; empty: none."""
    symbols = [one.make_key(key).symbol for one in strategy.inputs if one.is_other_market]
    return {INFORMATIVE: sorted(set(symbols))} if symbols else {}


def make_session(
    settings: TraderSettings,
    account: str,
    key: SeriesKey,
    strategy: LoadedStrategy,
    now_ms: int,
    origin: Mapping[str, Any],
) -> Session:
    """Return the record of a session that begins now; it is not stored yet.

    Args:
        settings: Settings of the trader.
        account: Name of the account.
        key: The series to trade.
        strategy: Strategy with its parameters and the digest of its code.
        now_ms: Market time, epoch milliseconds.
        origin: Strategy file and saved run, as `strategy_origin.get_origin_rules` returns them.
    """
    return Session(
        session=uuid4().hex,
        app="trader",
        mode="live" if settings.mode == "live" else "paper",
        account=account,
        exchange=key.exchange,
        symbol=key.symbol,
        timeframe=key.timeframe,
        strategy=strategy.name,
        parameters=strategy.parameters,
        code_digest=strategy.code_digest,
        started_ms=now_ms,
        rules={**make_session_rules(settings), **origin, **_make_informative_rule(key, strategy)},
    )
