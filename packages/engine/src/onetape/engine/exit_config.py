"""Settings of exits in addition to the strategy's SELL: stops, targets and a time stop."""

import math
from typing import Annotated, ClassVar, Final

from msgspec import field

from onetape.core.errors import UsageError
from onetape.core.setting import DeclaredStruct, Setting

#: More candles than any range has; sums of such counts fit into 64 bits.
MAX_BARS: Final = 1_000_000_000
#: Fraction by which a level is moved towards the price, so that float rounding hides no hit: more
#: than the error of two products of floats.
NOISE: Final = 2.0**-50
_FIVE_PERCENT: Final = "0.05 is 5 %"


class ExitConfig(DeclaredStruct, frozen=True, kw_only=True):
    """Exits of a position in addition to the strategy's SELL; none by default.

    All are measured from the price that the entry was filled at, before its slippage.
    """

    section: ClassVar[str] = "exits"

    stop_loss: Annotated[
        float | None,
        Setting(
            "Sell this far below the entry price; 0.05 is 5 %.",
            flag="--stop-loss",
            metavar="RATIO",
            gt=0,
            lt=1,
            hint=_FIVE_PERCENT,
            unit="fraction",
            rule="market sell at entry x (1 - this)",
        ),
    ] = None
    take_profit: Annotated[
        float | None,
        Setting(
            "Sell this far above the entry price, by a limit order; 0.05 is 5 %.",
            flag="--take-profit",
            metavar="RATIO",
            gt=0,
            lt=1_000,
            hint=_FIVE_PERCENT,
            unit="fraction",
            rule="limit sell at entry x (1 + this)",
        ),
    ] = None
    target_table: Annotated[
        dict[int, float],
        Setting(
            "Take profit that falls with time: {example} is 2 % at first, then 0.5 % of the entry "
            "price; keys are times since the entry, in a file candles (not minutes).",
            flag="--roi-table",
            metavar="TIME=RATIO",
            unit="candles since the entry: fraction of the entry price",
            rule="take profit that falls with time: from so many candles after the entry on, this "
            "fraction; with `take_profit` the lower one counts; "
            "freqtrade's `minimal_roi` has minutes",
            example="0=2%,24h=0.5%",
            file_example="{0: 0.02, 24: 0.005}",
        ),
    ] = field(default_factory=dict[int, float])
    trailing_stop: Annotated[
        float | None,
        Setting(
            "Sell this far below the highest price since the entry; 0.05 is 5 %.",
            flag="--trailing-stop",
            metavar="RATIO",
            gt=0,
            lt=1,
            hint=_FIVE_PERCENT,
            unit="fraction",
            rule="market sell at the highest price so far x (1 - this): of the entry and of all "
            "candles since; how a candle's own high counts is explained below",
        ),
    ] = None
    trailing_offset: Annotated[
        float | None,
        Setting(
            "Profit after both fees from which the trailing stop follows; 0.05 is 5 %.",
            flag="--trailing-offset",
            metavar="RATIO",
            ge=0,
            lt=1_000,
            hint=_FIVE_PERCENT,
            empty="from the entry on",
            unit="fraction",
            rule="the trailing stop follows once the highest price is above entry x (1 + this) x b "
            "([Net of fees](#net-of-fees))",
        ),
    ] = None
    trailing_stop_before_offset: Annotated[
        float | None,
        Setting(
            "Sell this far below the highest price before the offset is reached; 0.05 is 5 %.",
            flag="--trailing-before-offset",
            metavar="RATIO",
            gt=0,
            lt=1,
            hint=_FIVE_PERCENT,
            empty="no trailing stop before the offset",
            unit="fraction",
            rule="the trailing stop up to `trailing_offset`, instead of `trailing_stop`",
        ),
    ] = None
    break_even: Annotated[
        float | None,
        Setting(
            "Profit after both fees from which the stop is at break-even at least; 0.05 is 5 %.",
            flag="--break-even",
            metavar="RATIO",
            ge=0,
            lt=1_000,
            hint=_FIVE_PERCENT,
            empty="no move to break-even",
            unit="fraction",
            rule="once the highest price is above entry x (1 + this) x b, the stop is at entry x b "
            "at least ([Net of fees](#net-of-fees))",
        ),
    ] = None
    net_targets: Annotated[
        bool,
        Setting(
            "Measure targets after both fees.",
            flag="--net-targets/--no-net-targets",
            unit="yes or no",
            rule="whether `take_profit` and `target_table` are net of both fees: the limit is then "
            "entry x (1 + target) x b ([Net of fees](#net-of-fees))",
        ),
    ] = False
    exit_profit_offset: Annotated[
        float | None,
        Setting(
            "Follow a SELL only above this profit after both fees; 0.05 is 5 %.",
            flag="--exit-profit-offset",
            metavar="RATIO",
            gt=-1,
            lt=1_000,
            hint=_FIVE_PERCENT,
            empty="every SELL counts",
            unit="fraction",
            rule="a SELL counts where the close of its candle is above entry x (1 + this) x b "
            "([Net of fees](#net-of-fees)); any other SELL is treated as HOLD",
        ),
    ] = None
    time_stop_bars: Annotated[
        int | None,
        Setting(
            "Sell this many candles after the entry, at the open.",
            flag="--time-stop",
            metavar="CANDLES",
            ge=1,
            plausible_max=MAX_BARS,
            unit="candles",
            rule="market sell at the open of this many candles after the entry's",
        ),
    ] = None

    market_break_even: float = 1.0
    """Price at which a market sell returns what the entry cost, fees included, as a multiple of
    the entry price; set by the account, not a setting."""
    limit_break_even: float = 1.0
    """Price at which a limit sell returns what the entry cost, fees included, as a multiple of the
    entry price; set by the account, not a setting."""

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            UsageError: a setting is invalid; the text names setting, allowed values and value
                found.
        """
        super().__post_init__()
        if self.target_table:
            self._check_table()
        if self.trailing_offset is not None and self.trailing_stop is None:
            raise UsageError(
                "trailing_offset needs a trailing stop that begins there; set trailing_stop",
                setting="exits.trailing_offset",
            )
        if self.trailing_stop_before_offset is not None and self.trailing_offset is None:
            raise UsageError(
                "trailing_stop_before_offset needs an offset that ends it; set trailing_offset",
                setting="exits.trailing_stop_before_offset",
            )

    def _check_table(self) -> None:
        rows = self.target_rows
        ratios = [ratio for _, ratio in rows]
        is_sound = all(math.isfinite(ratio) and -1 < ratio < 1_000 for ratio in ratios)
        if not is_sound or not all(0 <= age <= MAX_BARS for age, _ in rows):
            fault = (
                "have fractions above -1 and under 1,000 from candle 0 on, such as "
                f"{{0: 0.04, 60: 0.02}}, found {dict(rows)}"
            )
        elif ratios != sorted(ratios, reverse=True):
            fault = f"fall with time, found {dict(rows)}"
        # Both fees lie between the entry and a net target of 0.
        elif rows[0][0] == 0 and (ratios[0] < 0 if self.net_targets else ratios[0] <= 0):
            fault = (
                f"begin above 0: {ratios[0]:g} at bar 0 sells what was just bought; "
                "begin it at a later bar"
            )
        else:
            return
        raise UsageError(f"target_table must {fault}", setting="exits.target_table")

    @property
    def target_rows(self) -> list[tuple[int, float]]:
        """Return bars since the entry and target (fraction of the price), in order of time."""
        return sorted(self.target_table.items())

    @property
    def is_any(self) -> bool:
        """Return whether a stop, target or time stop can end a position."""
        return self.has_levels or self.time_stop_bars is not None

    @property
    def has_levels(self) -> bool:
        """Return whether a stop or target can end a position inside a bar."""
        return self.has_stop or self.has_target

    @property
    def has_stop(self) -> bool:
        """Return whether there is a stop of any kind, at the entry or later."""
        return self.stop_loss is not None or self.has_moving_stop

    @property
    def has_moving_stop(self) -> bool:
        """Return whether rising prices move a stop."""
        return self.trailing_stop is not None or self.break_even is not None

    @property
    def has_target(self) -> bool:
        """Return whether there is a fixed target or a table of targets."""
        return self.take_profit is not None or bool(self.target_table)

    @property
    def first_stop(self) -> float | None:
        """Return the fraction of the price that is lost if the entry's bar hits the stop."""
        is_waiting = self.trailing_offset is not None
        trailing = self.trailing_stop_before_offset if is_waiting else self.trailing_stop
        given = [one for one in (self.stop_loss, trailing) if one is not None]
        return min(given) if given else None

    @property
    def is_net_of_fees(self) -> bool:
        """Return whether an exit depends on the fees of the account."""
        offsets = (self.trailing_offset, self.break_even, self.exit_profit_offset)
        return self.net_targets or any(one is not None for one in offsets)

    @property
    def trailing_from(self) -> float:
        """Return the price above which `trailing_stop` holds, as a multiple of the entry price.

        0: from the entry on. A price that is higher only by float rounding does not count as above.
        """
        if self.trailing_offset is None:
            return 0.0
        return (1 + self.trailing_offset) * self.market_break_even * (1 + NOISE)

    @property
    def break_even_from(self) -> float:
        """Return the highest price above which the stop is at break-even.

        As a multiple of the entry; infinity: at no price. A price that is above by the noise of
        floats alone is not above.
        """
        if self.break_even is None:
            return math.inf
        return (1 + self.break_even) * self.market_break_even * (1 + NOISE)

    @property
    def break_even_stop(self) -> float:
        """Return the stop at break-even as a multiple of the entry; 0: none."""
        return 0.0 if self.break_even is None else self.market_break_even * (1 + NOISE)

    @property
    def min_exit_factor(self) -> float | None:
        """Return the close above which a SELL counts, as a multiple of the entry; None: always.

        A close that is higher only by float rounding does not count as above.
        """
        if self.exit_profit_offset is None:
            return None
        return (1 + self.exit_profit_offset) * self.market_break_even * (1 + NOISE)

    def sell_counts(self, entry_price: float, close: float) -> bool:
        """Return whether a SELL ends a position.

        Args:
            entry_price: Price of the entry before slippage, quote currency.
            close: Close of the candle with the SELL.
        """
        factor = self.min_exit_factor
        return factor is None or close > entry_price * factor

    def compute_target_ratio(self, age: int) -> float:
        """Return the target `age` bars after the entry, as a fraction of the entry price.

        Infinity: no target.
        """
        # A table falls with time, so the lowest target of the rows that have begun holds.
        begun = [ratio for start, ratio in self.target_table.items() if start <= age]
        ratio = min([math.inf if self.take_profit is None else self.take_profit, *begun])
        return (1 + ratio) * self.limit_break_even - 1 if self.net_targets else ratio


#: Exits of an account that exits only by the strategy's SELL.
NO_EXITS: Final = ExitConfig()
