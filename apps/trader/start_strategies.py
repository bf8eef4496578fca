"""Loads the strategies of a start: with a position open, a failure does not end the start.

A position is managed by the strategy that entered it, even if the settings name another one now. If
that strategy cannot be loaded, a stand-in that never sells takes its place: stop, target and time
stop remain.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import structs

from onetape.core.errors import OnetapeError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.trading import Session
from onetape.strategies.registry import find_strategy_file
from trader.evaluator.built_in import BuiltInEvaluator, is_built_in
from trader.evaluator.process_evaluator import LoadTimeout, ProcessEvaluator
from trader.evaluator.processes import StrategyHelper
from trader.evaluator.results import StrategyEvaluator
from trader.evaluator.stand_in import StandInEvaluator
from trader.live.start_plan import StartPlan
from trader.live.stored_exits import add_stored_exits
from trader.strategy_origin import (
    ORIGIN,
    describe_origin,
    find_loaded_origin,
    get_stored_origin,
    is_of_other_file,
)
from trader.traded_symbols import TradedSymbol


class StrategyLoader:
    """Loads each strategy once; symbols with equal strategy and parameters share an evaluator."""

    def __init__(self, helper: StrategyHelper, runner: asyncio.Runner, stack: ExitStack) -> None:
        """Initialise; no strategy is loaded yet.

        Args:
            helper: Starts the processes of the strategies.
            runner: Runs the coroutines that load and close them.
            stack: Closes the evaluators at the end of the program.
        """
        self._helper = helper
        self._runner = runner
        self._stack = stack
        self._known: dict[str, StrategyEvaluator] = {}
        """Evaluators of the loaded strategies, by name and parameters."""
        self._errors: dict[str, OnetapeError] = {}
        """Errors of strategies that could not be loaded, by name and parameters."""
        self._late_files: dict[Path | None, LoadTimeout] = {}
        """Errors of strategy files that took too long; a start tries such a file once."""

    def load_plan(self, plan: StartPlan) -> tuple[StartPlan, list[StrategyEvaluator]]:
        """Run `load`; no event loop may run in this thread."""
        return self._runner.run(self.load(plan))

    async def load(self, plan: StartPlan) -> tuple[StartPlan, list[StrategyEvaluator]]:
        """Return the symbols of a plan that can be traded, with the evaluator of each.

        A symbol with an open position or order goes on with the strategy that entered, without new
        entries, if the settings name another strategy or no longer the symbol. If a strategy cannot
        be loaded while a position or order is open, symbols whose strategy is missing are left out.

        Args:
            plan: Plan of the start.

        Raises:
            UsageError: no such strategy or parameter, or a value that it does not allow.
            ConfigurationError: the file of a strategy cannot be used.
        """
        symbols: list[TradedSymbol] = []
        evaluators: list[StrategyEvaluator] = []
        exits_only, stand_ins = dict(plan.exits_only), dict(plan.stand_ins)
        failed = ""
        is_another = plan.strategy_fault is not None
        for one in plan.symbols:
            symbol, evaluator = one.key.symbol, None
            held = plan.held.get(symbol)
            # A symbol that left the settings is planned with its stored strategy.
            is_another = is_another or held is one
            try:
                evaluator = await self._load(plan, one)
            except OnetapeError as error:
                if not plan.held:
                    raise
                failed = f"a strategy cannot be loaded ({error})"
            session = plan.sessions.get(symbol)
            is_unknown = plan.settings.params_from is None
            if held is not None and (is_unknown or _is_another(evaluator, held, session)):
                is_another = True
                why = _describe_difference(one if evaluator is None else evaluator, held, session)
                try:
                    evaluator = await self._load(plan, _name_strategy_by_file(held, session))
                    exits_only.setdefault(symbol, why)
                except OnetapeError as error:
                    failed = f"a strategy cannot be loaded ({error})"
                    stand_ins[symbol] = held.strategy.name
                    evaluator = make_stand_in(held, session, is_loading=False)
            if evaluator is not None:
                symbols.append(one)
                evaluators.append(evaluator)
        # A symbol that is left out shall not change the name of the account.
        name = plan.account if failed else plan.settings.account_name
        bans = {one.key.symbol: failed for one in symbols} if failed else {}
        plan = structs.replace(
            plan,
            settings=structs.replace(plan.settings, account_name=name),
            symbols=tuple(symbols),
            exits_only={**exits_only, **bans},
            stand_ins=stand_ins,
        )
        return (add_stored_exits(plan) if is_another else plan), evaluators

    async def _load(self, plan: StartPlan, one: TradedSymbol) -> StrategyEvaluator:
        """Return the evaluator of a symbol's strategy, loaded once for equal parameters.

        An error is raised again without another attempt; a file that took too long is not tried
        again with other parameters either.
        """
        choice = repr((one.strategy.name, sorted(one.strategy.parameters.items())))
        if choice in self._known:
            return self._known[choice]
        file = find_strategy_file(one.strategy.name, USER_FOLDER)
        file = None if file is None else file.resolve()
        known = self._errors.get(choice) or self._late_files.get(file)
        if known is not None:
            raise known
        evaluator = self._make_evaluator(plan, one)
        self._stack.callback(_close, self._runner, evaluator)
        try:
            await evaluator.load()
        except OnetapeError as error:
            self._errors[choice] = error
            if isinstance(error, LoadTimeout):
                self._late_files[file] = error
            raise
        self._known[choice] = evaluator
        return evaluator

    def _make_evaluator(self, plan: StartPlan, one: TradedSymbol) -> StrategyEvaluator:
        """Return a new evaluator: with a separate process if the code is a user's."""
        if is_built_in(one.strategy):
            return BuiltInEvaluator(one.strategy, one.key.timeframe)
        memory_mb = plan.settings.strategy_memory_mb
        return ProcessEvaluator(one.strategy, one.key.timeframe, self._helper, memory_mb=memory_mb)


def refuse_live_limits(plan: StartPlan, evaluators: Sequence[StrategyEvaluator]) -> StartPlan:
    """Return a plan in which no strategy sends limit entries to an exchange.

    With an open position or order, the symbol of such a strategy makes exits only.

    Args:
        plan: Plan of the start.
        evaluators: Evaluator of each symbol.

    Raises:
        UsageError: a strategy gives limit entries, and orders are live.
    """
    if plan.settings.mode != "live":
        return plan
    exits_only = dict(plan.exits_only)
    for one, evaluator in zip(plan.symbols, evaluators, strict=True):
        if evaluator.strategy.limit_expiry_candles is None:
            continue
        reason = (
            f"strategy {evaluator.strategy.name} gives limit entries, which exist on paper only"
        )
        if one.key.symbol not in plan.held:
            raise UsageError(
                f"{reason}; trade it without --live, or let its limit_expiry_candles be None"
            )
        exits_only.setdefault(one.key.symbol, reason)
    return structs.replace(plan, exits_only=exits_only)


def _close(runner: asyncio.Runner, evaluator: StrategyEvaluator) -> None:
    runner.run(evaluator.close())


def make_stand_in(
    held: TradedSymbol, session: Session | None, *, is_loading: bool
) -> StandInEvaluator:
    """Return the evaluator in place of a strategy that is not loaded.

    Args:
        held: Symbol with an open position or order, with the strategy that entered.
        session: Last session of the symbol; None: none is stored.
        is_loading: Whether the strategy is being loaded; otherwise it cannot be loaded.
    """
    strategy = _name_strategy_by_file(held, session).strategy
    return StandInEvaluator(strategy, session, is_loading=is_loading)


def _name_strategy_by_file(held: TradedSymbol, session: Session | None) -> TradedSymbol:
    """Return a symbol whose strategy is named by the file that its last session stored, if any."""
    origin = get_stored_origin(session).get(ORIGIN)
    if not origin:
        return held
    return structs.replace(held, strategy=structs.replace(held.strategy, name=str(origin)))


def _is_another(
    evaluator: StrategyEvaluator | None, held: TradedSymbol, session: Session | None
) -> bool:
    """Return whether the loaded strategy is not the one that entered; True if none is loaded."""
    if evaluator is None or evaluator.strategy.name != held.strategy.name:
        return True
    return is_of_other_file(session, evaluator)


def _describe_difference(
    now: StrategyEvaluator | TradedSymbol, held: TradedSymbol, session: Session | None
) -> str:
    """Return a text with the settings' strategy and the one that has entered the position."""
    name = now.strategy.name
    entered = held.strategy.name
    if not isinstance(now, TradedSymbol) and name == entered:
        name = f"{name} {describe_origin(find_loaded_origin(now))}"
        entered = f"{entered} {describe_origin(str(get_stored_origin(session).get(ORIGIN, '')))}"
    return f"the strategy is {name} now, and the position is one of {entered}"
