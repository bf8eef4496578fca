"""The limits of a live account's entries, as settings: the section `risk` of the settings file."""

from datetime import tzinfo
from decimal import Decimal
from typing import Annotated, ClassVar

from onetape.core.setting import DeclaredStruct, Setting
from onetape.core.time_zones import load_time_zone

#: Maximum amount of money; more is a typing error.
_MOST_MONEY = 1_000_000_000_000_000


class RiskLimits(DeclaredStruct, frozen=True, kw_only=True):
    """Limits of entries. No limit forbids an exit, because an exit only reduces the risk."""

    section: ClassVar[str] = "risk"

    max_order: Annotated[
        Decimal | None,
        Setting(
            "Largest entry, in quote currency; a larger one is made smaller.",
            flag="--max-order",
            metavar="AMOUNT",
            empty="no limit",
            gt=0,
            plausible_max=_MOST_MONEY,
            unit="quote currency",
        ),
    ] = None
    max_position: Annotated[
        Decimal | None,
        Setting(
            "Largest position of a symbol at today's price; an entry is made smaller.",
            empty="no limit",
            gt=0,
            plausible_max=_MOST_MONEY,
            unit="quote currency",
        ),
    ] = None
    max_positions: Annotated[
        int,
        Setting(
            "Open positions of the account at a time, those being opened included.",
            ge=1,
            unit="positions",
        ),
    ] = 10
    max_orders_per_minute: Annotated[
        int,
        Setting(
            "Orders of the account in a minute; more stop all entries until a person clears it.",
            ge=1,
            unit="orders",
        ),
    ] = 30
    max_daily_loss: Annotated[
        float,
        Setting(
            "Loss of a day, open losses counted, as a fraction of the equity at its start; a "
            "larger one stops all entries until a person clears it.",
            gt=0,
            le=1,
            hint="0.05 is 5 %",
            unit="fraction",
        ),
    ] = 0.05
    time_zone: Annotated[
        str,
        Setting("Time zone in which a day begins, such as Europe/Berlin.", unit="name"),
    ] = "UTC"
    max_drawdown: Annotated[
        float,
        Setting(
            "Loss from the highest equity, open losses counted; a larger one stops all entries "
            "until a person clears it.",
            gt=0,
            le=1,
            hint="0.25 is 25 %",
            unit="fraction",
        ),
    ] = 0.25
    max_data_age_seconds: Annotated[
        float,
        Setting("No entry on market data older than this.", gt=0, unit="seconds"),
    ] = 60.0
    max_quote_age_seconds: Annotated[
        float,
        Setting("No entry on a bid and ask older than this.", gt=0, unit="seconds"),
    ] = 5.0
    max_spread: Annotated[
        float,
        Setting(
            "No entry while bid and ask are further apart than this fraction of the price.",
            gt=0,
            lt=1,
            hint="0.005 is 0.5 %",
            unit="fraction",
        ),
    ] = 0.005
    max_clock_skew_seconds: Annotated[
        float,
        Setting(
            "No entry while the clock is further from the exchange's than this.",
            gt=0,
            unit="seconds",
        ),
    ] = 2.0

    def __post_init__(self) -> None:
        """Refuse a value outside its bounds, and an unknown time zone.

        Raises:
            UsageError: the text names the setting and the found value.
        """
        super().__post_init__()
        load_time_zone(self.time_zone, "risk.time_zone")

    @property
    def day_zone(self) -> tzinfo:
        """Return the time zone in which a day begins."""
        return load_time_zone(self.time_zone, "risk.time_zone")


#: Limits at their defaults.
DEFAULT_LIMITS = RiskLimits()
