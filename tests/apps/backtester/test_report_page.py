"""The report of a real backtest over a year of hours, in a real headless Chromium."""

import io
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from backtester.main import app
from browser import BrowserTab
from onetape.cli.program import run_typer_app
from onetape.core.candles import SeriesKey
from onetape.simulator.defaults import DEFAULT_SEED
from onetape.simulator.market.simulated_market import SimulatedMarket
from onetape.store.candles import insert_columns
from onetape.store.database import open_store

DAY, START, DAYS = 86_400, 1_704_067_200, 366
SIX_MEGABYTES = 6_000_000
#: The market of the simulator has an outage within the year.
FLAGS = (
    *("--stop-loss", "0.03", "--take-profit", "0.05", "--trailing-stop", "0.06"),
    "--allow-gaps",
)
#: Counts the pixels of each pane that have a colour of the style sheet, as it looks on the card.
PIXELS = """
(name => {
  const style = getComputedStyle(document.documentElement);
  const of = (text) => [1, 3, 5, 7].map(at => parseInt(text.slice(at, at + 2).padEnd(2, 'f'), 16));
  const card = of(style.getPropertyValue('--card').trim());
  const paint = of(style.getPropertyValue(name).trim());
  const part = paint[3] / 255;
  const wanted = [0, 1, 2].map(at => paint[at] * part + card[at] * (1 - part));
  const rows = [...document.querySelectorAll('#chart tr')].filter(row => row.querySelector('canvas'));
  return rows.map(row => {
    let count = 0;
    for (const canvas of row.querySelectorAll('canvas')) {
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] === 255 && wanted.every((one, which) => Math.abs(one - data[at + which]) <= 2)) {
          count += 1;
        }
      }
    }
    return count;
  });
})
"""  # noqa: E501


class BacktestWithPage(NamedTuple):
    """A backtest, and the page that it wrote."""

    document: dict[str, Any]
    path: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], BacktestWithPage]:
    """Return a function that runs a strategy with stops and targets and gives run and report."""
    folder = tmp_path_factory.mktemp("year")
    bars = SimulatedMarket(DEFAULT_SEED).get_candles("BTC/USDT", "1h", START, START + DAYS * DAY)
    with open_store(folder / "candles.db", create=True) as store:
        key = SeriesKey("simulator", "BTC/USDT", "1h")
        insert_columns(store, key, bars, source="rest", seen_ms=1)

    @cache
    def run(strategy: str) -> BacktestWithPage:
        path, printed = folder / f"{strategy}.html", io.TextIOWrapper(io.BytesIO())
        flags = (*FLAGS, "--json", "--report", str(path), "--db", str(folder / "candles.db"))
        with redirect_stdout(printed):
            code = run_typer_app(
                app, "backtester", ("--exchange", "simulator", "--strategy", strategy, *flags)
            )
        assert code == 0
        printed.seek(0)
        return BacktestWithPage(json.load(printed), path)

    return run


def count_pixels(page: BrowserTab, colour: str) -> list[int]:
    page.settle()
    return page.run(f"{PIXELS}('{colour}')")


def read_cells(page: BrowserTab, row: str) -> list[str]:
    return page.run(f"[...document.querySelector('{row}').cells].map(one => one.textContent)")


def test_a_report_of_a_year_is_small_logs_nothing_and_needs_no_network(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    found = made("rsi")
    assert found.document["candles"] > 8_700
    assert found.path.stat().st_size < SIX_MEGABYTES
    page = open_page(found.path)
    page.dark(on=True)
    page.click(*page.centre("#trade-table tbody tr:nth-child(2)"))
    assert page.complaints() == []
    assert {url.partition(":")[0] for url in page.requests()} <= {"file", "data"}


def test_candles_volume_indicator_equity_and_drawdown_are_drawn_in_their_colours(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(made("rsi").path)
    names = page.run("[...document.querySelectorAll('#legends > div')].map(one => one.innerText)")
    assert [name.split()[0] for name in names[1:]] == ["RSI", "equity,", "drawdown,"]
    up, down, volume, line, hold = (
        count_pixels(page, f"--{name}") for name in ("up", "down", "volume", "line-0", "hold")
    )
    # Panes from above: prices, RSI, equity with buy-and-hold, drawdown; then the axis of time.
    assert min(up[0], down[0], volume[0]) > 500
    assert min(line[1], line[2], hold[2]) > 500
    page.run("window.onetapeReport.showTrade(0)")
    # Zoomed in, the same volume takes more room, and the indicator less.
    assert count_pixels(page, "--volume")[0] > volume[0]


def test_indicators_in_the_unit_of_the_price_are_drawn_over_the_candles(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(made("bollinger").path)
    legend = page.run("document.querySelector('#legends > div').innerText")
    assert re.findall(r"upper band|average|lower band", legend) == [
        *("upper band", "average", "lower band")
    ]
    assert all(count_pixels(page, f"--line-{number}")[0] > 300 for number in range(3))


def test_headline_months_and_notes_are_those_of_the_run(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    document, path = made("rsi")
    metrics = document["metrics"]
    page = open_page(path)
    headline = page.run("document.querySelector('h1').textContent")
    for part in (metrics["total_return"], metrics["buy_and_hold"]["total_return"]):
        assert f"{part * 100:+.1f} %" in headline
    assert f"max drawdown {metrics['max_drawdown'] * 100:.1f} %" in headline
    year, *months, total, held = read_cells(page, "#months tbody tr")
    assert (year, len(months)) == ("2024", 12)
    whole = 1.0
    for month in months:
        whole *= 1 + float(month) / 100
    assert whole == pytest.approx(1 + metrics["total_return"], abs=0.01)
    assert total == f"{metrics['total_return'] * 100:+.1f}"
    assert held == f"{metrics['buy_and_hold']['total_return'] * 100:+.1f}"
    rows = page.run(
        "[...document.querySelectorAll('#metrics > div')].map(one => one.innerText.split('\\n'))"
    )
    shown = {row[0]: row[1] for row in rows}
    assert shown["ambiguous bars"] == f"{metrics['ambiguous_bars']:,}"
    listed = page.run("document.querySelector('main').innerText")
    for words in (
        *document["notes"],
        document["check"]["text"],
        document["assumptions"]["trading rules"],
    ):
        assert words in listed


#: The mark of each kind of exit.
EXITS = {
    "signal": "arrowDown",
    "stop_loss": "circle",
    "trailing_stop": "circle",
    "target": "square",
}


def test_every_entry_and_exit_is_marked_at_its_candle_by_its_kind(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    document, path = made("rsi")
    page = open_page(path)
    kinds: set[str] = set()
    for number, trade in enumerate(document["trades"]):
        # Zoomed out, marks of one kind that would overlap are thinned out.
        page.run(f"window.onetapeReport.showTrade({number})")
        page.settle()
        entry, leave = (
            page.run(f"window.onetapeReport.marker('{side}-{number}')")
            for side in ("entry", "exit")
        )
        assert (entry["time"], entry["shape"]) == (trade["entry_timestamp"], "arrowUp")
        if not trade["open_at_end"]:
            assert leave["time"] == trade["exit_timestamp"]
            assert leave["shape"] == EXITS[trade["exit_kind"]]
            kinds.add(trade["exit_kind"])
    assert kinds == set(EXITS)


def test_the_groups_add_up_to_the_metrics_of_the_run(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    document, path = made("rsi")
    metrics, trades = document["metrics"], document["trades"]
    page = open_page(path)
    for kind in ("exit", "entry"):
        total = read_cells(page, f"#groups-{kind} tfoot tr")
        assert total[:3] == [
            *("all closed", f"{metrics['trades']:,}", f"{metrics['win_rate'] * 100:.1f} %"),
        ]
        assert total[4:7] == [
            f"{metrics[name] * 100:+,.2f} %"
            for name in ("average_trade", "best_trade", "worst_trade")
        ]
    rows = page.run(
        "[...document.querySelectorAll('#groups-exit tbody tr')]"
        ".map(row => [row.cells[0].textContent, Number(row.cells[1].textContent)])"
    )
    closed = [trade for trade in trades if not trade["open_at_end"]]
    assert {name: count for name, count in rows if name != "open position"} == Counter(
        trade["exit_reason"] for trade in closed
    )
    mean = metrics["average_trade"] * 100
    assert f"mean {mean:+.2f} %" in page.run("document.querySelector('main').innerText")
    bars = page.run(
        "[...document.querySelectorAll('#histogram title')]"
        ".map(one => parseInt(one.textContent.split(': ').at(-1)))"
    )
    assert sum(bars) == metrics["trades"]


def test_a_click_on_a_stopped_trade_goes_there_and_draws_its_stop(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab]
) -> None:
    document, path = made("rsi")
    page = open_page(path)
    number = next(
        at for at, one in enumerate(document["trades"]) if one["exit_kind"] == "stop_loss"
    )
    trade = document["trades"][number]
    page.click(*page.centre(f"#trade-table tbody tr:nth-child({number + 1})"))
    page.settle()
    bars = page.run("window.onetapeReport.visibleRange()")
    assert bars["fromTime"] < trade["entry_timestamp"]
    assert trade["exit_timestamp"] < bars["toTime"]
    assert "stopped out" in page.run("document.getElementById('selected').textContent")
    assert number in page.run("window.onetapeReport.levels()")
    x, y = page.centre("#chart")
    width = bars["to"] - bars["from"]
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
    page.wait_for(
        "(b => b.to - b.from)(window.onetapeReport.visibleRange())" + f" < {width * 0.95}"
    )


#: Every element with text: the text, its size, and its contrast (WCAG 2).
READABLE = """
(() => {
  const numbers = (text) => {
    const found = text.match(/[\\d.]+(?:e-?\\d+)?/g).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return [found[0] * scale, found[1] * scale, found[2] * scale, found[3] ?? 1];
  };
  const under = (element) => {
    if (!element) return [255, 255, 255];
    const paint = numbers(getComputedStyle(element).backgroundColor);
    if (paint[3] === 0) return under(element.parentElement);
    const below = paint[3] === 1 ? paint : under(element.parentElement);
    return [0, 1, 2].map(at => paint[at] * paint[3] + below[at] * (1 - paint[3]));
  };
  const light = (colour) => {
    const part = colour.map(one => one / 255)
      .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  return [...document.body.querySelectorAll('*')].filter(element =>
    !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)
      && [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
      && element.getClientRects().length && element.className !== 'skip',
  ).map(element => {
    const style = getComputedStyle(element);
    const [one, other] = [light(numbers(style.color).slice(0, 3)), light(under(element))];
    return {
      words: element.textContent.trim().slice(0, 30), size: parseFloat(style.fontSize),
      contrast: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05),
    };
  });
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_on_a_phone_is_large_and_clear_enough_and_inside_the_screen(
    made: Callable[[str], BacktestWithPage], open_page: Callable[..., BrowserTab], dark: bool
) -> None:
    page = open_page(made("rsi").path, 360, 740)
    page.dark(on=dark)
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    words = page.run(READABLE)
    assert len(words) > 200
    assert [one for one in words if one["contrast"] < 4.5] == []
    assert [one for one in words if one["size"] < 12] == []
    box = page.run(
        "(b => [b.width, b.height])(document.getElementById('chart').getBoundingClientRect())"
    )
    assert box[0] > 300
    assert box[1] > 300
    page.click(*page.centre("#trade-table tbody tr:nth-child(2) td:nth-child(2)"))
    assert page.run("window.onetapeReport.chosenTrade()") == 1
    top = page.run("document.getElementById('chart').getBoundingClientRect().top")
    assert 0 <= top < 400
