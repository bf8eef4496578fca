"""The HTML of the page: texts, escaping, size, and no external resource."""

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from onetape.core.simulated import Origin
from onetape.report import Headline, MetricRow, ReportData, render_report

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{data}}"
SIX_MEGABYTES = 6_000_000
LOADING = {"src", "srcset", "data", "poster", "action", "background", "manifest", "ping"}


class ElementCollector(HTMLParser):
    """Collects elements with their attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.inline: list[tuple[str, str]] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag if "application/json" not in dict(attrs).values() else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in {"script", "style"}:
            self.inline.append((self._open, data))


def find_policy(page: str) -> dict[str, str]:
    metas = [attributes for tag, attributes in ElementCollector(page).found if tag == "meta"]
    policy = next(meta["content"] for meta in metas if "http-equiv" in meta)
    parts = [part.strip().partition(" ") for part in policy.split(";")]
    return {name: allowed for name, _, allowed in parts}


def find_texts(page: str, element: str) -> str:
    inner = re.search(rf"<{element}[ >].*?</{element}>", page, re.DOTALL)
    assert inner
    return re.sub(r"<[^>]+>", "", inner[0])


def test_the_headline_states_return_of_run_and_of_buy_and_hold_fees_and_drawdown(
    report: Callable[..., ReportData],
) -> None:
    assert find_texts(render_report(report()), "h1") == (
        "RSI returned +12.3 %, buy and hold +40.1 %; fees 312.40 USDT; max drawdown -18.0 %"
    )


def test_a_return_that_rounds_to_zero_has_no_sign(report: Callable[..., ReportData]) -> None:
    data = replace(report(), headline=Headline(-0.0001, 0.0, 0.0, 0.0))
    assert "returned 0.0 %, buy and hold 0.0 %" in find_texts(render_report(data), "h1")


@pytest.mark.parametrize(
    ("origin", "head"),
    [
        ("invented", "Invented market."),
        ("recorded", "Recorded candles."),
        ("inside recorded", "Invented inside recorded candles."),
        ("unknown", "Simulated market."),
    ],
)
def test_a_banner_states_where_the_simulators_candles_come_from(
    report: Callable[..., ReportData], origin: Origin, head: str
) -> None:
    page = render_report(report(origin=origin))
    assert f"<strong>{head}</strong>" in page
    assert page.count("not what this strategy would earn") == (origin != "recorded")


def test_candles_of_a_real_exchange_have_no_banner(report: Callable[..., ReportData]) -> None:
    assert 'class="banner" role="note"' not in render_report(report())


def test_hostile_text_in_every_place_stays_text(report: Callable[..., ReportData]) -> None:
    data = report(
        exchange=HOSTILE,
        symbol=HOSTILE,
        timeframe=HOSTILE,
        strategy=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        rules={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
    )
    trades = tuple(replace(t, entry_reason=HOSTILE, exit_reason=HOSTILE) for t in data.trades)
    metrics = (MetricRow(HOSTILE, HOSTILE, HOSTILE, HOSTILE),)
    indicators = {HOSTILE: data.equity}
    data = replace(
        data,
        trades=trades,
        metrics=metrics,
        indicators=indicators,
        overlays=(),
        levels={HOSTILE: (1.0,)},
    )
    hostile, plain = (ElementCollector(render_report(made)) for made in (data, report()))
    assert "img" not in {tag for tag, _ in hostile.found}
    count = [sum(tag == "script" for tag, _ in page.found) for page in (hostile, plain)]
    assert count == [3, 3]


def test_no_element_names_anything_to_load(report: Callable[..., ReportData]) -> None:
    elements = ElementCollector(render_report(report())).found
    assert not [element for element in elements if LOADING & set(element[1])]
    links = [attributes["href"] for tag, attributes in elements if tag == "link"]
    assert links == ["data:,"]


def test_the_style_loads_nothing(report: Callable[..., ReportData]) -> None:
    styles = [
        text for tag, text in ElementCollector(render_report(report())).inline if tag == "style"
    ]
    assert styles
    assert not re.search(r"url\(|@import", "".join(styles))


def test_the_policy_allows_only_the_scripts_and_style_of_the_page(
    report: Callable[..., ReportData],
) -> None:
    page = render_report(report())
    allowed: dict[str, list[str]] = {"script": [], "style": []}
    for tag, text in ElementCollector(page).inline:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        allowed[tag].append(f"'sha256-{digest}'")
    assert find_policy(page) == {
        "default-src": "'none'",
        "script-src": " ".join(allowed["script"]),
        "style-src": " ".join(allowed["style"]),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_year_of_hours_is_under_six_megabytes(
    report: Callable[..., ReportData], leveled: Callable[[ReportData], ReportData]
) -> None:
    page = render_report(leveled(report(366 * 24, every=20, held=10)))
    assert len(page.encode()) < SIX_MEGABYTES


def test_equal_data_gives_an_equal_page(report: Callable[..., ReportData]) -> None:
    assert render_report(report()) == render_report(report())


def test_every_placeholder_of_the_template_is_filled(report: Callable[..., ReportData]) -> None:
    assert not re.search(r"\{\{\w+\}\}", render_report(report()))


def test_the_licence_header_and_the_notice_of_the_chart_library_stay(
    report: Callable[..., ReportData],
) -> None:
    page = render_report(report())
    assert "Licensed under Apache License 2.0" in page
    assert 'href="https://www.tradingview.com/"' in page


def test_merged_candles_are_stated_with_the_limit_that_caused_it(
    report: Callable[..., ReportData],
) -> None:
    page = render_report(report(60_000, step_seconds=60, timeframe="1m"))
    assert "Drawn as 20,000 3m candles: the range has 60,000 1m candles; more than 50,000" in page


def test_a_report_loads_neither_pandas_nor_the_wrapper_of_the_chart_library() -> None:
    code = (
        "import sys, onetape.report as r; from onetape.report.library import read_chart_library;"
        "read_chart_library(); print({'pandas', 'litecharts', 'ccxt', 'aiohttp'} & "
        "set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
