"""Keeps the stops and targets that a position was entered with, if the settings have lost them.

The file of a freqtrade strategy may state stops and targets. If the settings name another strategy
at the next start, or the file is gone, an open position would lose its stop. So these exits are
taken from the stored settings of the position's last session.
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
    """Return a plan with the exits of the last session, as far as a person has set none.

    Exits that the file of the configured strategy states are ignored: they belong to that strategy
    and not to the position.

    Args:
        plan: Plan of a start with an open position or order.
    """
    settings = plan.settings
    given, stored = settings.account.exits, _parse_stored_exits(plan)
    stated = _read_stated_values(settings.strategy.name)
    own = {
        setting.name: getattr(given, setting.name)
        for setting in collect_settings(ExitConfig).values()
        if getattr(given, setting.name)
        not in (setting.default, stated.get(f"exits.{setting.name}"))
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
        setting.name: msgspec.convert(plan.stored_rules[setting.name], setting.kind, strict=False)
        for setting in collect_settings(ExitConfig).values()
        if plan.stored_rules.get(setting.name) is not None
    }


def _read_stated_values(name: str) -> dict[str, Any]:
    """Return the settings that the file of a strategy states; empty if it cannot be read."""
    try:
        found = read_stated_settings(name, USER_FOLDER)
    except OnetapeError:
        # The start reports the error; the settings lack the file's values, too.
        return {}
    return {} if found is None else found.values
