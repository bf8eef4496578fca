"""What ends a position in addition to the strategy's SELL: stops, targets and a time stop."""

import math
from typing import Annotated, ClassVar, Final

from msgspec import field

from onetape.core.errors import UsageError
from onetape.core.setting import DeclaredStruct, Setting

#: No range has so many candles, and sums of such counts fit into 64 bits.
MOST_BARS: Final = 1_000_000_000
_FIVE_PERCENT: Final = "0.05 is 5 %"


class ExitConfig(DeclaredStruct, frozen=True, kw_only=True):
    """How a position is left in addition to the strategy's SELL; nothing is the default.

    All are measured from the price that the entry was filled at, before its slippage.
    """

    section: ClassVar[str] = "exits"

    stop_loss: Annotated[
        float | None,
        Setting(
            "Sell this far under the entry; 0.05 is 5 %.",
            flag="--stop-loss",
            metavar="RATIO",
            gt=0,
            lt=1,
            hint=_FIVE_PERCENT,
            unit="part",
            rule="market sell at entry x (1 - this)",
        ),
    ] = None
    take_profit: Annotated[
        float | None,
        Setting(
            "Sell this far over the entry, by a limit order; 0.05 is 5 %.",
            flag="--take-profit",
            metavar="RATIO",
            gt=0,
            lt=1_000,
            hint=_FIVE_PERCENT,
            unit="part",
            rule="limit sell at entry x (1 + this)",
        ),
    ] = None
    target_table: Annotated[
        dict[int, float],
        Setting(
            "Take profit that falls: {example} is 2 %, and 0.5 % from candle 24 on.",
            flag="--target",
            metavar="CANDLES=RATIO",
            unit="candles and parts",
            rule="take profit that falls with time: from so many candles after the entry on, this "
            "part; beside `take_profit` the lower one counts",
            example="0=0.02,24=0.005",
            file_example="{0: 0.02, 24: 0.005}",
        ),
    ] = field(default_factory=dict[int, float])
    trailing_stop: Annotated[
        float | None,
        Setting(
            "Sell this far under the highest price since the entry.",
            flag="--trailing-stop",
            metavar="RATIO",
            gt=0,
            lt=1,
            hint=_FIVE_PERCENT,
            unit="part",
            rule="market sell at the highest price so far x (1 - this): of the entry and of all "
            "candles since; how a candle's own high counts is said below",
        ),
    ] = None
    time_stop_bars: Annotated[
        int | None,
        Setting(
            "Sell this many candles after the entry, at the open.",
            flag="--time-stop",
            metavar="CANDLES",
            ge=1,
            most=MOST_BARS,
            unit="candles",
            rule="market sell at the open of this many candles after the entry's",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            UsageError: one cannot be used; the text names it, what is allowed and what was found.
        """
        super().__post_init__()
        if self.target_table:
            self._check_table()

    def _check_table(self) -> None:
        rows = self.target_rows
        ratios = [ratio for _, ratio in rows]
        is_sound = all(math.isfinite(ratio) and -1 < ratio < 1_000 for ratio in ratios)
        if not is_sound or not all(0 <= age <= MOST_BARS for age, _ in rows):
            fault = (
                "give parts above -1 and under 1,000 at bars from 0 up, such as "
                f"{{0: 0.04, 60: 0.02}}, found {dict(rows)}"
            )
        elif ratios != sorted(ratios, reverse=True):
            fault = f"fall with time, found {dict(rows)}"
        elif rows[0][0] == 0 and ratios[0] <= 0:
            fault = (
                f"begin above 0: {ratios[0]:g} at bar 0 sells what was just bought; begin it at a "
                "later bar"
            )
        else:
            return
        raise UsageError(f"target_table must {fault}", setting="exits.target_table")

    @property
    def target_rows(self) -> list[tuple[int, float]]:
        """Return bars since the entry and the part to be won from then on, in order of time."""
        return sorted(self.target_table.items())

    @property
    def is_any(self) -> bool:
        """Return whether anything in addition to a SELL ends a position."""
        return self.has_levels or self.time_stop_bars is not None

    @property
    def has_levels(self) -> bool:
        """Return whether the inside of a bar can end a position."""
        return self.has_stop or self.has_target

    @property
    def has_stop(self) -> bool:
        """Return whether there is a stop of either kind."""
        return self.stop_loss is not None or self.trailing_stop is not None

    @property
    def has_target(self) -> bool:
        """Return whether there is a target of either kind."""
        return self.take_profit is not None or bool(self.target_table)

    @property
    def first_stop(self) -> float | None:
        """Return the part of the price that is lost when the first bar stops out."""
        given = [one for one in (self.stop_loss, self.trailing_stop) if one is not None]
        return min(given) if given else None

    def target_ratio(self, age: int) -> float:
        """Return the part to be won `age` bars after the entry; infinity for no target."""
        # A table falls with time, so the row that holds is the least of those that have begun.
        begun = [ratio for start, ratio in self.target_table.items() if start <= age]
        return min([math.inf if self.take_profit is None else self.take_profit, *begun])


#: Nothing but the strategy's own SELL.
NO_EXITS: Final = ExitConfig()
