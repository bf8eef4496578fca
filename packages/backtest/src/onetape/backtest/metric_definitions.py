"""Definitions of metrics: terminal, report and docs/metrics.md use these labels and formulas."""

from typing import Any, Final, Literal, NamedTuple

from onetape.core.digits import choose_money_decimals, format_fixed
from onetape.engine import Metrics

#: Units of metrics; a fraction is shown as per cent.
Unit = Literal["fraction", "quote", "days", "ratio", "count", "candles", "number", "yes or no"]
#: One row as texts: label, value of the strategy, value of buy and hold, formula.
MetricLine = tuple[str, str, str, str]


class Definition(NamedTuple):
    """Definition of one metric: label, unit and formula."""

    field: str
    """Name of the metric in the engine's `Metrics`, in `--json` and in a run's manifest."""
    label: str
    """Name of the metric in terminal, report and docs."""
    unit: Unit
    formula: str
    """Formula of the metric as text; also the help text of the report."""
    source: str = "plain arithmetic"
    """Publication of the formula."""
    is_brief: bool = True
    """Whether the terminal shows the metric too; the report shows all metrics."""


DAILY: Final = "r: daily returns"
#: The risk-free rate of a day.
_DAILY_RISK_FREE: Final = f"{DAILY}, f: (1 + risk_free_rate)^(1/365) - 1"
#: All metrics, in the order in which they are shown.
DEFINITIONS: Final[tuple[Definition, ...]] = (
    Definition("total_return", "return", "fraction", "final equity / start cash - 1"),
    Definition(
        "final_equity", "final equity", "quote", "cash + an open position at the last close"
    ),
    Definition("start_cash", "start cash", "quote", "as set", is_brief=False),
    Definition(
        "market_change",
        "market change",
        "fraction",
        "last close / first close - 1, without a fee; the mean of several symbols",
        is_brief=False,
    ),
    Definition(
        "cagr",
        "CAGR",
        "fraction",
        "(final equity / start cash)^(365 days / time) - 1",
        "compound annual growth rate; freqtrade's published case",
    ),
    Definition(
        "volatility",
        "volatility",
        "fraction",
        f"sample deviation of r times sqrt(365); {DAILY}",
        "annualised as usual, with 365 days",
    ),
    Definition(
        "sharpe",
        "Sharpe",
        "ratio",
        f"(mean of r - f) / sample deviation of r times sqrt(365); {_DAILY_RISK_FREE}",
        "W. F. Sharpe, The Sharpe Ratio, 1994",
    ),
    Definition(
        "sortino",
        "Sortino",
        "ratio",
        f"(mean of r - f) / sqrt(mean of min(r - f, 0)^2) times sqrt(365); {_DAILY_RISK_FREE}",
        "F. A. Sortino and L. N. Price, Performance Measurement in a Downside Risk Framework, 1994",
    ),
    Definition(
        "calmar",
        "Calmar",
        "ratio",
        "CAGR / size of the max drawdown, over the whole range",
        "T. W. Young, Calmar Ratio: A Smoother Tool, 1991 (there over 36 months)",
    ),
    Definition(
        "max_drawdown",
        "max drawdown",
        "fraction",
        "minimum of equity / highest equity before - 1, at the closes",
        "the relative one of freqtrade's published case",
    ),
    Definition(
        "max_drawdown_seconds",
        "max drawdown duration",
        "days",
        "from the high before the drawdown until the high was regained, or to the end",
    ),
    Definition(
        "longest_drawdown_seconds",
        "longest drawdown",
        "days",
        "longest time from a high until the high was regained, or to the end",
    ),
    Definition(
        "exposure", "exposure", "fraction", "candles with an open position at the close / candles"
    ),
    Definition(
        "turnover",
        "annual turnover",
        "ratio",
        "value of all buys and sells / mean equity, times 365 days / time",
        "portfolio turnover of fund reports, both sides counted",
    ),
    Definition(
        "trades", "trades", "count", "closed round trips; one open at the end is not counted"
    ),
    Definition("open_at_end", "open position", "yes or no", "whether a position was still open"),
    Definition("wins", "wins", "count", "closed trades with a profit after fees", is_brief=False),
    Definition("win_rate", "win rate", "fraction", "wins / closed trades"),
    Definition(
        "profit_factor",
        "profit factor",
        "ratio",
        "sum of the profits / sum of the losses; none without a loss",
        "as backtesting.py and freqtrade print it",
    ),
    Definition("expectancy", "expectancy", "quote", "mean profit of a closed trade, after fees"),
    Definition(
        "sqn",
        "SQN",
        "ratio",
        "sqrt(trades) times mean / sample deviation of the trades' profits",
        "V. Tharp, Definitive Guide to Position Sizing, 2008; profits stand for R multiples",
    ),
    Definition("average_trade", "average trade", "fraction", "mean of profit / what was paid"),
    Definition("best_trade", "best trade", "fraction", "largest profit / what was paid"),
    Definition("worst_trade", "worst trade", "fraction", "smallest profit / what was paid"),
    Definition(
        "average_win", "average win", "fraction", "mean of profit / paid, winners", is_brief=False
    ),
    Definition(
        "average_loss", "average loss", "fraction", "mean of profit / paid, others", is_brief=False
    ),
    Definition(
        "average_bars",
        "average holding",
        "candles",
        "mean candles from entry to exit, closed trades",
        is_brief=False,
    ),
    Definition("fees", "fees", "quote", "paid on all fills; a fee in coins at its fill's price"),
    Definition(
        "slippage",
        "slippage",
        "quote",
        "price lost on all fills against the open, stop or limit, times the amount",
    ),
    Definition(
        "refused_orders",
        "refused orders",
        "count",
        "orders that account or market refused",
        is_brief=False,
    ),
    Definition(
        "waited_orders",
        "orders that waited",
        "count",
        "filled later than due, because nothing was traded in the candles before",
        is_brief=False,
    ),
    Definition(
        "limited_entries",
        "limited entries",
        "count",
        "entries that max_volume_share made smaller",
        is_brief=False,
    ),
    Definition(
        "ambiguous_bars",
        "ambiguous bars",
        "count",
        "candles that reached stop and target, or whose own high moves a trailing stop over their "
        "low, taken at the worst price that they allow: nothing shows what was first",
    ),
    Definition(
        "decided_bars",
        "decided bars",
        "count",
        "such candles in which intrabar candles show what was first",
        is_brief=False,
    ),
)
#: Label of each metric, by its field.
LABELS: Final = {definition.field: definition.label for definition in DEFINITIONS}
#: Fields of metrics that buy and hold has too.
HELD: Final = ("total_return", "final_equity", "max_drawdown")
#: Largest ratio that is shown; a gain within hours, compounded to a year, may have 200 digits.
_MAX_SHOWN: Final = 1e6
UNIT_TEXTS: Final[dict[Unit, str]] = {
    "fraction": "fraction; shown as %",
    "quote": "quote currency",
    "days": "seconds; shown as days",
    "ratio": "ratio",
    "count": "count",
    "candles": "candles",
    "number": "number",
    "yes or no": "true or false",
}


def get_definition(field: str) -> Definition:
    """Return the definition of a metric; for a metric of the user it is made from its name."""
    known = (definition for definition in DEFINITIONS if definition.field == field)
    return next(known, Definition(field, field, "number", "a function of the user's own"))


def make_metric_lines(metrics: Metrics, quote: str, *, brief: bool = False) -> list[MetricLine]:
    """Return the metrics of a run and of buy and hold, as texts.

    Args:
        metrics: The metrics.
        quote: Quote currency.
        brief: Leave out metrics that only the report shows.
    """
    hold = metrics.buy_and_hold
    decimals = choose_money_decimals(quote, metrics.start_cash)
    return [
        (
            format_metric_label(definition, quote),
            format_metric_value(definition, getattr(metrics, definition.field), decimals),
            format_metric_value(definition, getattr(hold, definition.field, None), decimals)
            if definition.field in HELD
            else "",
            definition.formula,
        )
        for definition in DEFINITIONS
        if definition.is_brief or not brief
    ]


def format_metric_label(definition: Definition, quote: str) -> str:
    """Return the label, with the unit where the value does not show it."""
    unit = {"quote": quote, "days": "days", "candles": "candles"}.get(definition.unit)
    return f"{definition.label}, {unit}" if unit else definition.label


def format_metric_value(definition: Definition, value: Any, decimals: int) -> str:
    """Return a value of a metric as people read it; empty where it is not defined.

    Args:
        definition: The metric.
        value: Value as in `--json`.
        decimals: Decimals of amounts of money.
    """
    if value is None:
        return ""
    is_huge = definition.unit in ("fraction", "ratio") and abs(value) > _MAX_SHOWN
    sign = ("< -" if value < 0 else "> ") if is_huge else ""
    match definition.unit:
        case "fraction" if is_huge:
            return f"{sign}{_MAX_SHOWN:,.0%}"
        case "ratio" if is_huge:
            return f"{sign}{_MAX_SHOWN:,.0f}"
        case "fraction":
            return f"{value:.2%}"
        case "days":
            return f"{value / 86_400:,.1f}"
        case "count":
            return f"{value:,}"
        case "yes or no":
            return "yes" if value else "no"
        case "quote":
            return format_fixed(value, decimals)
        case "number":
            return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
        case _:
            return f"{value:,.2f}"
