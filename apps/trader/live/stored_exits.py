"""Exits of a position whose strategy is not the configured one: those of its last session.

The file of a freqtrade strategy states stops and targets. Settings that name another strategy, or a
file that is gone, lack them, and a position would lose its stop.
"""

from typing import Any

import msgspec
from msgspec import structs

from onetape.core.errors import OnetapeError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.setting import collect_settings
from onetape.engine.exit_config import ExitConfig
from onetape.strategies.registry import stated_settings
from trader.live.start_plan import StartPlan


def with_stored_exits(plan: StartPlan) -> StartPlan:
    """Return a plan with the exits of the last session where the settings give none.

    What a person gives counts. What the file of the configured strategy states does not: it is
    no rule of the position.

    Args:
        plan: Start plan with a position or an order open.
    """
    settings = plan.settings
    given, stored = settings.account.exits, _stored(plan)
    stated = _stated(settings.strategy.name)
    own = {
        one.name: getattr(given, one.name)
        for one in collect_settings(ExitConfig).values()
        if getattr(given, one.name) not in (one.default, stated.get(f"exits.{one.name}"))
    }
    try:
        exits = ExitConfig(**{**stored, **own})
    except UsageError:
        # Given and stored exits do not fit together: those of the position hold.
        exits = ExitConfig(**stored)
    account = structs.replace(settings.account, exits=exits)
    return structs.replace(plan, settings=structs.replace(settings, account=account))


def _stored(plan: StartPlan) -> dict[str, Any]:
    """Return the exits of the last session, by name; those that it did not store are left out."""
    return {
        one.name: msgspec.convert(plan.stored_rules[one.name], one.kind, strict=False)
        for one in collect_settings(ExitConfig).values()
        if plan.stored_rules.get(one.name) is not None
    }


def _stated(name: str) -> dict[str, Any]:
    """Return the settings that the file of a strategy states; none where it cannot be read."""
    try:
        found = stated_settings(name, USER_FOLDER)
    except OnetapeError:
        # The start names the fault; the settings have nothing of the file either.
        return {}
    return {} if found is None else found.values
