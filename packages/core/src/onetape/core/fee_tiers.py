"""Fees of an exchange by fee tier, as data: fee_tiers.json, and the user's own file.

The field's words are CCXT's: `maker` and `taker` of a tier, which begins at a trading volume of the
last 30 days. An exchange in user/config/fee_tiers.json replaces that of fee_tiers.json.
"""

import math
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.folders import USER_FOLDER
from onetape.core.message_text import format_os_error, suggest_name

#: Fee tiers that come with the code.
PACKAGED_FILE: Final = Path(__file__).with_name("fee_tiers.json")
#: The user's own fee tiers; the file may be missing.
USER_FILE: Final = USER_FOLDER / "config" / "fee_tiers.json"
_KEY: Final = "account.fee_tier"
_Rate = Annotated[float, Meta(ge=0, lt=1)]


class FeeTier(Struct, frozen=True, forbid_unknown_fields=True):
    """Fees of one tier of an exchange."""

    volume: Annotated[float, Meta(ge=0)]
    """Trading volume of the last 30 days at which the tier begins, in the schedule's currency."""
    maker: _Rate
    """Fee of a limit order that waits in the order book, as a fraction of its value."""
    taker: _Rate
    """Fee of an order that fills at once, as a fraction of its value."""
    name: str = ""
    """Name of the tier at the exchange; empty: the tier is named by its volume."""

    @property
    def title(self) -> str:
        """Return the text by which a setting chooses the tier: `vip1`, or `50000`."""
        return self.name or f"{self.volume:.15g}"


class FeeSchedule(Struct, frozen=True, forbid_unknown_fields=True):
    """Fee tiers of one exchange."""

    source: str
    """Source of the numbers, with its date or version."""
    currency: str
    """Currency of the volumes."""
    tiers: Annotated[list[FeeTier], Meta(min_length=1)]
    """The tiers, from the lowest volume to the highest."""
    volume_below: float = math.inf
    """Volume from which the fees of the exchange are not stored; infinity: all are."""


def find_fee_tier(exchange: str, chosen: str) -> FeeTier:
    """Return a fee tier of an exchange.

    Args:
        exchange: CCXT exchange id, or `simulator`.
        chosen: Name of the tier, such as `vip1`; or a trading volume of the last 30 days, such as
            `250000`, whose tier is returned.

    Raises:
        UsageError: no fee tiers of the exchange are stored, or it has no such tier.
        ConfigurationError: the user's file cannot be used; the text names it.
    """
    schedules = load_fee_schedules()
    schedule = schedules.get(exchange)
    if schedule is None:
        raise UsageError(
            f"fee_tier needs stored fee tiers, and there are none of {exchange} (there are those "
            f"of {', '.join(schedules)}); set fee_rate and maker_fee_rate instead, or write the "
            f"tiers into {USER_FILE} (docs/rules.md)",
            setting=_KEY,
        )
    by_name = {tier.name.casefold(): tier for tier in schedule.tiers if tier.name}
    named = by_name.get(chosen.strip().casefold())
    return _find_by_volume(exchange, schedule, chosen) if named is None else named


def load_fee_schedules() -> dict[str, FeeSchedule]:
    """Return the fee tiers by exchange; those of the user's file replace those of the code.

    Raises:
        ConfigurationError: the user's file cannot be used; the text names it.
    """
    schedules = msgspec.json.decode(PACKAGED_FILE.read_bytes(), type=dict[str, FeeSchedule])
    return schedules | _load_user_schedules()


def _load_user_schedules() -> dict[str, FeeSchedule]:
    try:
        content = USER_FILE.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(
            f"{USER_FILE} cannot be read: {format_os_error(error)}; make it readable", setting=_KEY
        ) from error
    try:
        schedules = msgspec.json.decode(content, type=dict[str, FeeSchedule])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{USER_FILE} has no fee tiers: {error}; docs/rules.md has an example", setting=_KEY
        ) from error
    for exchange, schedule in schedules.items():
        volumes = [tier.volume for tier in schedule.tiers]
        if volumes != sorted(set(volumes)):
            raise ConfigurationError(
                f"{USER_FILE}: the tiers of {exchange} must begin at rising volumes, found "
                f"{', '.join(f'{volume:,g}' for volume in volumes)}",
                setting=_KEY,
            )
    return schedules


def _find_by_volume(exchange: str, schedule: FeeSchedule, chosen: str) -> FeeTier:
    """Return the tier of a trading volume."""
    titles = [tier.title for tier in schedule.tiers]
    try:
        volume = float(chosen)
    except ValueError:
        volume = math.nan
    if not schedule.tiers[0].volume <= volume < math.inf:
        raise UsageError(
            f"fee_tier must be a tier of {exchange} or a 30-day volume in {schedule.currency}, "
            f"found {chosen!r}{suggest_name(chosen, titles)} (the tiers: {', '.join(titles)}); "
            f"write others into {USER_FILE} (docs/rules.md)",
            setting=_KEY,
        )
    if volume >= schedule.volume_below:
        raise UsageError(
            f"fee_tier: the fees of {exchange} from a volume of {schedule.volume_below:,.0f} "
            f"{schedule.currency} on are not stored; set fee_rate and maker_fee_rate instead, or "
            f"write the tiers into {USER_FILE} (docs/rules.md)",
            setting=_KEY,
        )
    return [tier for tier in schedule.tiers if tier.volume <= volume][-1]
