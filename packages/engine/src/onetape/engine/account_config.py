"""Settings of an account: money, costs, order sizes and exits, for backtest and trader.

Flags and settings files are read from these declarations. The file loads no NumPy, because `--help`
loads it.
"""

from functools import cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec.structs import force_setattr, replace

from onetape.core.errors import UsageError
from onetape.core.setting import DeclaredStruct, Section, Setting, collect_settings, format_allowed
from onetape.core.trading_rules import NO_TRADING_RULES, TradingRules
from onetape.engine.exit_config import MAX_BARS, NO_EXITS, ExitConfig
from onetape.engine.guard_settings import DRAWDOWN_PAUSE, LOW_PROFIT_PAIRS, STOPLOSS_GUARD

if TYPE_CHECKING:
    from onetape.engine.entry_guards import EntryGuard
    from onetape.engine.entry_hours import EntryHours

#: Currency in which a buy pays its fee; a sell always pays in quote currency.
FeeCurrency = Literal["quote", "base"]
Sizing = Literal[
    "all_in",
    "quote_amount",
    "base_amount",
    "equity_share",
    "risk_per_trade",
    "volatility_target",
]
#: After an exit: new_signal lets each run of BUYs lead to one entry, while_signal any BUY enter.
Reentry = Literal["new_signal", "while_signal"]
#: exchange: prices and amounts of orders follow the trading rules that the exchange states; none:
#: no rounding and no minimum.
TradingRulesSource = Literal["exchange", "none"]
TRADING_RULES: Final = Setting(
    "Price steps, amount steps and minimums of orders: exchange, or none.",
    flag="--trading-rules",
    metavar="KIND",
)
MAX_OPEN_TRADES: Final = Setting(
    "Largest number of open positions, over all symbols.",
    flag="--max-open-trades",
    metavar="N",
    empty="as many as symbols",
    ge=1,
)
RISK_FREE_RATE: Final = Setting(
    "Risk-free rate in the Sharpe and Sortino ratios, per year; 0.04 is 4 %.",
    flag="--risk-free-rate",
    metavar="RATIO",
    gt=-1,
    lt=1,
    hint="0.04 is 4 %",
)
#: Maximum amount of money; more is a typing error, and its results would overflow.
MAX_MONEY: Final = 1_000_000_000_000_000


def _make_sizing_setting(
    help_: str, unit: str, example: str, rule: str, le: float | None
) -> Setting:
    """Return the declaration of the number of one sizing; `--sizing` can give the number too."""
    plausible_max = MAX_MONEY if le is None else None
    return Setting(
        help_,
        number_of="sizing",
        unit=unit,
        example=example,
        rule=rule,
        gt=0,
        le=le,
        plausible_max=plausible_max,
    )


class AccountConfig(DeclaredStruct, frozen=True, kw_only=True):
    """Money, costs, order sizes and exits of an account. Spot, long only, one position a symbol."""

    section: ClassVar[str] = "account"

    cash: Annotated[
        float,
        Setting(
            "Start balance, in quote currency.",
            flag="--cash",
            metavar="AMOUNT",
            gt=0,
            plausible_max=MAX_MONEY,
            unit="quote currency",
            rule="start balance; a trader stores it when it opens an account, and never changes it",
        ),
    ] = 10_000.0
    fee_rate: Annotated[
        float,
        Setting(
            "Fee of each order, as a fraction of its value; 0.001 is 0.1 %.",
            flag="--fee",
            metavar="RATIO",
            ge=0,
            lt=1,
            unit="fraction",
            rule="fee of each order, as a fraction of its value",
        ),
    ] = 0.001
    maker_fee_rate: Annotated[
        float | None,
        Setting(
            "Fee of targets, which are limit orders, as a fraction of the value; 0.001 is 0.1 %.",
            flag="--maker-fee",
            metavar="RATIO",
            ge=0,
            lt=1,
            empty="as for market orders",
            unit="fraction",
        ),
    ] = None
    fee_tier: Annotated[
        str | None,
        Setting(
            "Fee tier of the exchange, by name or by the trading volume of 30 days: vip1, 250000.",
            flag="--fee-tier",
            metavar="TIER",
            empty="the two fees above",
            unit="name or volume",
            rule="sets `fee_rate` and `maker_fee_rate` to the fees of this tier of the exchange "
            "([Fee tiers](#fee-tiers))",
            example="vip1",
        ),
    ] = None
    fee_currency: Annotated[
        FeeCurrency,
        Setting(
            "Currency of a buy's fee: quote, or base as on Binance.",
            flag="--fee-currency",
            metavar="KIND",
            unit="word",
            rule="currency of a buy's fee: `quote`, or `base` (of the coins bought, as on "
            "Binance); a sell pays in quote currency",
        ),
    ] = "quote"
    slippage_bps: Annotated[
        float,
        Setting(
            "Price loss of each market order; 5 is 0.05 % of the price.",
            flag="--slippage",
            metavar="BPS",
            ge=0,
            lt=10_000,
            unit="bps of the price",
            rule="price loss of each market order",
            file_default=2.0,
        ),
    ] = 0.0
    spread_bps: Annotated[
        float,
        Setting(
            "Distance of bid and ask, in bps of the price; a market order pays half of it.",
            flag="--spread-bps",
            metavar="BPS",
            ge=0,
            lt=10_000,
            unit="bps of the price",
            rule="distance of bid and ask; a market order pays half of it",
        ),
    ] = 0.0
    volume_impact: Annotated[
        float,
        Setting(
            "Price loss of an order as large as the last candle's volume; "
            "smaller orders lose less.",
            flag="--volume-impact",
            metavar="RATIO",
            ge=0,
            lt=1,
            unit="fraction of the price",
            rule="price loss of an order as large as the volume of the candle before it; smaller "
            "orders lose in proportion",
        ),
    ] = 0.0
    max_volume_share: Annotated[
        float | None,
        Setting(
            "Largest fraction of the last candle's volume that an entry buys; 0.01 is 1 %.",
            flag="--max-volume-share",
            metavar="RATIO",
            gt=0,
            le=1,
            empty="no limit",
            unit="fraction of the volume",
            rule="an entry buys at most this fraction of the volume of the candle before it "
            "([Volume limit](#volume-limit))",
        ),
    ] = None
    sizing: Annotated[
        Sizing,
        Setting(
            "What an entry spends: all_in, or {numbers}.",
            flag="--sizing",
            metavar="KIND",
            unit="word",
            rule="what an entry spends: `all_in`, or one of the next five by name",
            example="all_in",
        ),
    ] = "all_in"
    quote_amount: Annotated[
        float | None,
        _make_sizing_setting(
            "Quote currency per entry, fee included.",
            "quote currency",
            "500",
            "spends this, fee included",
            None,
        ),
    ] = None
    base_amount: Annotated[
        float | None,
        _make_sizing_setting(
            "Amount per entry, in base currency.", "coins", "1", "buys so many coins", None
        ),
    ] = None
    equity_share: Annotated[
        float | None,
        _make_sizing_setting(
            "Fraction of the equity that an entry spends; 0.5 is half of it.",
            "fraction",
            "0.5",
            "spends this fraction of the equity",
            1,
        ),
    ] = None
    risk_per_trade: Annotated[
        float | None,
        _make_sizing_setting(
            "Fraction of the equity that is lost if the first stop is hit.",
            "fraction",
            "0.01",
            "buys the amount that loses this fraction of the equity at the first stop",
            1,
        ),
    ] = None
    volatility_target: Annotated[
        float | None,
        _make_sizing_setting(
            "Annual volatility that an entry adds to the account; 0.2 is 20 %.",
            "fraction per year",
            "0.2",
            "buys the amount that adds this volatility to the account",
            None,
        ),
    ] = None
    volatility_bars: Annotated[
        int,
        Setting(
            "Number of changes of the close from which the market's volatility is computed.",
            ge=2,
            plausible_max=MAX_BARS,
            unit="candles",
            rule="changes of the close from which the market's volatility is computed",
        ),
    ] = 30
    exits: Annotated[ExitConfig, Section(key="exits")] = NO_EXITS
    """Settings of stops, targets and the time stop."""
    cooldown_bars: Annotated[
        int,
        Setting(
            "Number of candles after an exit in which nothing is bought.",
            flag="--cooldown",
            metavar="CANDLES",
            ge=0,
            plausible_max=MAX_BARS,
            unit="candles",
            rule="candles after an exit whose signals enter nothing",
        ),
    ] = 0
    reentry: Annotated[
        Reentry,
        Setting(
            "After an exit: new_signal lets each run of BUYs enter once, while_signal any BUY.",
            flag="--reentry",
            metavar="RULE",
            unit="word",
            rule="which BUY enters after an exit: `new_signal` or `while_signal` "
            "([Re-entry](#re-entry))",
        ),
    ] = "new_signal"
    trading_hours: Annotated[
        str | None,
        Setting(
            "Hours in which entries are made, such as 08:00-22:00; several joined by commas.",
            flag="--trading-hours",
            metavar="HH:MM-HH:MM",
            empty="the whole day",
            unit="HH:MM-HH:MM",
            rule="hours of the day in which entries are made ([Trading hours](#trading-hours)); "
            "several joined by commas",
            example="08:00-22:00",
        ),
    ] = None
    trading_days: Annotated[
        str | None,
        Setting(
            "Weekdays on which entries are made, such as mon-fri or sat,sun.",
            flag="--trading-days",
            metavar="DAYS",
            empty="all",
            unit="days",
            rule="weekdays on which entries are made: mon, tue, wed, thu, fri, sat, sun",
            example="mon-fri",
        ),
    ] = None
    trading_timezone: Annotated[
        str,
        Setting(
            "Time zone of trading hours and weekdays, such as Europe/Berlin.",
            flag="--trading-timezone",
            metavar="NAME",
            unit="name",
        ),
    ] = "UTC"
    stoploss_guard: Annotated[str | None, STOPLOSS_GUARD] = None
    drawdown_pause: Annotated[str | None, DRAWDOWN_PAUSE] = None
    low_profit_pairs: Annotated[str | None, LOW_PROFIT_PAIRS] = None
    trading_rules: TradingRules = NO_TRADING_RULES
    """Price step, amount step and minimums of the market. A program adds them; they cannot be set
    in a settings file."""

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            UsageError: a setting is invalid; the text names setting, allowed values and value
                found.
        """
        super().__post_init__()
        self._set_break_even()
        worst = self.slippage + self.volume_impact
        if worst >= 1:
            raise UsageError(
                "slippage, half the spread and volume_impact must be under 1 in all, found "
                f"{worst}",
                setting=("account.volume_impact", "account.slippage_bps", "account.spread_bps"),
            )
        self._check_sizing()
        # The property refuses invalid guards.
        _ = self.entry_guards
        if self.entry_hours is None and self.trading_timezone != "UTC":
            raise UsageError(
                "trading_timezone needs trading_hours or trading_days; set one of them",
                setting="account.trading_timezone",
            )

    def _set_break_even(self) -> None:
        """Set the break-even prices of `exits`, which exits net of both fees need."""
        if not self.exits.is_net_of_fees:
            return
        bought = 1 / (1 - self.fee_rate) if self.fee_currency == "base" else 1 + self.fee_rate
        market, limit = bought / (1 - self.fee_rate), bought / (1 - self.target_fee_rate)
        if (self.exits.market_break_even, self.exits.limit_break_even) != (market, limit):
            exits = replace(self.exits, market_break_even=market, limit_break_even=limit)
            force_setattr(self, "exits", exits)

    def _check_sizing(self) -> None:
        for name, setting in _collect_sizing_settings().items():
            is_given = getattr(self, name) is not None
            if is_given and name != self.sizing:
                raise UsageError(
                    f"{name} must be left out with sizing {self.sizing}, found one",
                    setting=(f"account.{name}", "account.sizing"),
                )
            if name == self.sizing and not is_given:
                raise UsageError(
                    f"sizing {name} needs a number {format_allowed(setting)}: write {name}=NUMBER, "
                    f"or in a file {name}: NUMBER below it",
                    setting="account.sizing",
                )
        if self.sizing == "risk_per_trade" and self.exits.first_stop is None:
            raise UsageError(
                "sizing risk_per_trade needs a stop that limits the loss; "
                "set exits.stop_loss or exits.trailing_stop",
                setting=("account.sizing", "account.risk_per_trade"),
            )

    @property
    def entry_guards(self) -> "tuple[EntryGuard, ...]":
        """Return the rules that pause entries after losses.

        Raises:
            UsageError: a setting is invalid; `__post_init__` has checked that none is.
        """
        given = (self.stoploss_guard, self.drawdown_pause, self.low_profit_pairs)
        if given == (None, None, None):
            return ()
        # Imported here, because most accounts have no entry guards.
        from onetape.engine.entry_guards import parse_entry_guards

        return parse_entry_guards(*given)

    @property
    def entry_hours(self) -> "EntryHours | None":
        """Return the hours and weekdays in which entries are made; None: at any time.

        Raises:
            UsageError: a setting is invalid; `__post_init__` has checked that none is.
        """
        if self.trading_hours is None and self.trading_days is None:
            return None
        # Imported here, because the import takes a millisecond and most accounts need none of it.
        from onetape.engine.entry_hours import parse_entry_hours

        return parse_entry_hours(self.trading_hours, self.trading_days, self.trading_timezone)

    @property
    def slippage(self) -> float:
        """Return slippage and half the spread, as a fraction of the price."""
        return self.slippage_bps / 10_000 + self.spread_bps / 20_000

    @property
    def target_fee_rate(self) -> float:
        """Return the fee rate of a limit order."""
        return self.fee_rate if self.maker_fee_rate is None else self.maker_fee_rate

    @property
    def closes_for_size(self) -> int:
        """Return the number of closes before an entry from which its size is computed."""
        return self.volatility_bars + 1 if self.sizing == "volatility_target" else 0


@cache
def _collect_sizing_settings() -> dict[str, Setting]:
    """Return the declaration of the number that goes with each sizing."""
    declared = collect_settings(AccountConfig).values()
    return {one.path[-1]: one.setting for one in declared if one.setting.number_of}
