"""Exits of a position whose strategy is not the configured one, from its last session.

The file of a freqtrade strategy states stops and targets. If the settings name another strategy, or
the file is gone, these exits are missing, and a position would lose its stop.
"""

from typing import Any

import msgspec
from msgspec import structs

from onetape.core.errors import OnetapeError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.setting import collect_settings
from onetape.engine.exit_config import ExitConfig
from onetape.strategies.registry import read_stated_settings
from trader.live.start_plan import StartPlan


def add_stored_exits(plan: StartPlan) -> StartPlan:
    """Return a plan with the exits of the last session where the settings give none.

    Exits that a person sets count. Exits that the configured strategy's file states do not: they
    are no rule of the position.

    Args:
        plan: Start plan with a position or an order open.
    """
    settings = plan.settings
    given, stored = settings.account.exits, _parse_stored_exits(plan)
    stated = _read_stated_values(settings.strategy.name)
    own = {
        one.name: getattr(given, one.name)
        for one in collect_settings(ExitConfig).values()
        if getattr(given, one.name) not in (one.default, stated.get(f"exits.{one.name}"))
    }
    try:
        exits = ExitConfig(**{**stored, **own})
    except UsageError:
        # Given and stored exits do not fit together: the stored exits of the position hold.
        exits = ExitConfig(**stored)
    account = structs.replace(settings.account, exits=exits)
    return structs.replace(plan, settings=structs.replace(settings, account=account))


def _parse_stored_exits(plan: StartPlan) -> dict[str, Any]:
    """Return the stored exits of the last session, by name."""
    return {
        one.name: msgspec.convert(plan.stored_rules[one.name], one.kind, strict=False)
        for one in collect_settings(ExitConfig).values()
        if plan.stored_rules.get(one.name) is not None
    }


def _read_stated_values(name: str) -> dict[str, Any]:
    """Return the settings that the file of a strategy states; empty if it cannot be read."""
    try:
        found = read_stated_settings(name, USER_FOLDER)
    except OnetapeError:
        # The start reports the fault; the settings lack the file's values, too.
        return {}
    return {} if found is None else found.values
