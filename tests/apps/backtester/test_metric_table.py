"""Every metric is defined once, and shown with the unit and the digits that it needs."""

from typing import Any

import pytest
from msgspec.structs import fields, replace

from onetape.backtest.metric_definitions import DEFINITIONS, format_metric_value, make_metric_lines
from onetape.engine import BuyAndHoldResult, Metrics


def make_metrics() -> Metrics:
    values: dict[str, Any] = {field.name: 0.05 for field in fields(Metrics)}
    values |= {"trades": 1_234, "wins": 3, "refused_orders": 0, "ambiguous_bars": 2}
    values |= {"decided_bars": 0, "open_at_end": True, "max_drawdown_seconds": 129_600}
    values["buy_and_hold"] = BuyAndHoldResult(
        final_equity=9.5, total_return=-0.05, max_drawdown=-0.2
    )
    return Metrics(**values)


def test_every_metric_of_the_engine_is_defined_once() -> None:
    names = [one.field for one in DEFINITIONS]
    assert sorted([*names, "buy_and_hold"]) == sorted(field.name for field in fields(Metrics))
    assert {field.name for field in fields(BuyAndHoldResult)} <= set(names)


def test_every_definition_has_a_formula_and_a_source() -> None:
    assert all(one.label and one.formula and one.source for one in DEFINITIONS)


@pytest.mark.parametrize(
    ("label", "value", "held"),
    [
        ("return", "5.00%", "-5.00%"),
        ("final equity, USDC", "0.050000", "9.500000"),
        ("max drawdown duration, days", "1.5", ""),
        ("trades", "1,234", ""),
        ("open position", "yes", ""),
        ("average holding, candles", "0.05", ""),
    ],
)
def test_each_line_has_its_unit_in_the_label_or_the_value(
    label: str, value: str, held: str
) -> None:
    lines = {line[0]: line[1:3] for line in make_metric_lines(make_metrics(), "USDC")}
    assert lines[label] == (value, held)


@pytest.mark.parametrize(
    ("quote", "cash", "shown"),
    [("USDT", 10_000.0, "12,345.68"), ("BTC", 10_000.0, "12,345.67890123"), ("USD", 7.0, None)],
)
def test_money_has_the_digits_that_matter_in_its_currency(
    quote: str, cash: float, shown: str | None
) -> None:
    metrics = replace(make_metrics(), start_cash=cash, final_equity=12_345.678_901_234)
    lines = {line[0]: line[1] for line in make_metric_lines(metrics, quote)}
    assert lines[f"final equity, {quote}"] == (shown or "12,345.6789")


def test_an_undefined_metric_is_left_empty() -> None:
    metrics = replace(make_metrics(), sharpe=None, buy_and_hold=None)
    lines = {line[0]: line[1:3] for line in make_metric_lines(metrics, "USDT")}
    assert lines["Sharpe"] == ("", "")
    assert lines["return"] == ("5.00%", "")


def test_the_terminal_shows_a_part_of_what_the_report_shows() -> None:
    brief, whole = (
        make_metric_lines(make_metrics(), "USDT", brief=brief) for brief in (True, False)
    )
    assert set(brief) < set(whole)
    assert len(whole) == len(DEFINITIONS)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("cagr", 5.05e165, "> 100,000,000%"),
        ("calmar", 1.5e167, "> 1,000,000"),
        ("calmar", -2e6, "< -1,000,000"),
        ("cagr", 1e6, "100000000.00%"),
        ("final_equity", 1e9, "1,000,000,000.00"),
    ],
)
def test_a_huge_annual_growth_is_not_written_with_all_digits(
    field: str, value: float, text: str
) -> None:
    (definition,) = (one for one in DEFINITIONS if one.field == field)
    assert format_metric_value(definition, value, 2) == text
