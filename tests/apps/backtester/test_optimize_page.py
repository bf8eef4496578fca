"""The page of an optimization in a real headless Chromium, and its progress bar in a terminal."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser import BrowserTab
from onetape.backtest.metric_definitions import LABELS
from terminal_output import run_in_terminal

Run = Callable[..., Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=10,30")


def test_the_page_shows_both_maps_without_a_console_message(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    found = optimize(*GRID)
    page = open_page(Path(found["page"]).resolve())
    fields = "document.querySelectorAll('#map-{} td button').length"
    assert [page.run(fields.format(part)) for part in ("in_sample", "out_of_sample")] == [4, 4]
    assert page.run("document.querySelectorAll('#cloud circle').length") == 4
    assert page.complaints() == []
    assert [url for url in page.requests() if not url.startswith(("file:", "data:"))] == []


#: The text of the cloud that a dot lies under, and where texts and dots end on the right.
CLOUD = """
(() => {
  const boxes = (name) => [...document.querySelectorAll(`#cloud ${name}`)].map((one) => {
    const box = one.getBBox();
    return {left: box.x, right: box.x + box.width, top: box.y, bottom: box.y + box.height};
  });
  const dots = boxes('circle'), texts = boxes('text');
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const over = (list) => list.flatMap((a, at) => [...dots, ...list.slice(at + 1)].filter((b) => meets(a, b)));
  const svg = document.getElementById('cloud'), size = svg.viewBox.baseVal;
  const inside = texts.every((one) => one.left >= 0 && one.right <= size.width && one.bottom <= size.height);
  const last = document.querySelectorAll('#cloud text')[3].getBBox();
  return {over: over(texts).length, inside,
    apart: Math.abs(last.x + last.width - Math.max(...dots.map((dot) => dot.right)))};
})()
"""  # noqa: E501


def test_the_labels_of_the_scatter_plot_are_at_the_ends_of_the_axes_and_on_no_point(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize(*GRID)["page"]).resolve())
    found = page.run(CLOUD)
    assert (found["over"], found["inside"]) == (0, True)
    assert found["apart"] <= 10


def test_a_click_on_a_cell_shows_its_numbers_in_both_parts(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    found = optimize(*GRID)
    page = open_page(Path(found["page"]).resolve(), 390)
    page.click(*page.centre("#map-in_sample td button"))
    listed = page.run("document.getElementById('selected').textContent")
    assert "fast 5, slow 10" in listed
    assert "out-of-sample" in listed
    assert page.run("document.querySelectorAll('td[aria-current=true]').length") == 2
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_page_and_terminal_use_the_label_of_the_metrics_definition(
    optimize: Run, backtester: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize(*GRID)["page"]).resolve())
    heads = page.run("[...document.querySelectorAll('#combinations th')].map(th => th.textContent)")
    options = page.run(
        "[...document.getElementById('metric').options].map(option => option.textContent)"
    )
    lines = backtester("optimize", "--exchange", "simulator", *GRID).out.splitlines()
    printed = [" ".join(line.split()) for line in lines]
    names = ["Sharpe", "return", "max drawdown", "trades"]
    assert [
        LABELS[field] for field in ("sharpe", "total_return", "max_drawdown", "trades")
    ] == names
    assert heads[3::2] == [*names, "neighbours"]
    assert options[:4] == names
    columns = " ".join(f"{name} out-of-sample" for name in names)
    assert f"fast slow {columns} neighbours" in printed
    assert not [line for line in printed if "total_return" in line or "sharpe" in line]


def test_the_colours_of_maps_change_at_zero_on_a_common_and_on_a_separate_scale(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize("-s", "rsi", "--param", "period=2,5,7,14,30")["page"]).resolve())
    fields = (
        "[...document.querySelectorAll('.map td')].filter((one) => one.style.background)"
        ".map((one) => [one.textContent, one.style.background])"
    )
    common = page.run(fields)
    values = [
        (float(text.replace("\u2212", "-").replace("%", "")), colour) for text, colour in common
    ]
    assert min(values)[0] < 0 < max(values)[0]
    assert all(("--up" in colour) == (value >= 0) for value, colour in values if value)
    page.run(
        "(() => { const s = document.getElementById('scale'); s.value = 'own';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    own = page.run(fields)
    assert [text for text, _ in own] == [text for text, _ in common]
    assert [colour for _, colour in own] != [colour for _, colour in common]


def test_a_heading_sorts_the_combinations(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize(*GRID)["page"]).resolve())
    page.run("document.querySelectorAll('#combinations th')[2].click()")
    slow = page.run(
        "[...document.querySelectorAll('#combinations tbody tr:not(.hold) td:nth-child(3)')]"
        ".map((one) => Number(one.textContent))"
    )
    assert slow == sorted(slow)
    assert slow[0] != slow[-1]


def test_another_metric_redraws_the_maps(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize(*GRID)["page"]).resolve())
    shown = "document.querySelector('#map-in_sample td button').textContent"
    before = page.run(shown)
    page.run(
        "(() => { const s = document.getElementById('metric'); s.value = 'trades';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert page.run(shown) != before
    assert page.run("document.querySelector('#map-in_sample td').style.background") != ""


def test_the_progress_bar_is_on_the_terminal_and_stdout_has_only_the_document(
    database: Path, folder: Path
) -> None:
    del database
    program = Path(sys.executable).with_name("backtester")
    command = [program, "optimize", "--exchange", "simulator", "--json", *GRID]
    stdout, drawn = run_in_terminal(command, folder)
    assert json.loads(stdout)["combinations"] == 4
    assert "combinations" in drawn
    assert "4/4" in drawn


#: Two goals of which no combination is the best in both: the shortest averages trade most.
GOALS = (
    *("--strategy", "sma_cross", "--param", "fast=3:15:3", "--param", "slow=20:60:10"),
    *("--rank", "sharpe", "--rank", "trades", "--min-trades", "5", "--no-check"),
)
#: The rows of the table of the front: the texts of their cells.
FRONT = (
    "[...document.querySelectorAll('#front-table tbody tr')]"
    ".map(row => [...row.cells].map(cell => cell.textContent))"
)


def test_the_pareto_front_is_marked_connected_and_listed(
    optimize: Run, open_page: Callable[..., BrowserTab]
) -> None:
    found = optimize(*GOALS)
    ranked = [one for one in found["results"] if one["ranked"]]
    pairs = [(one["in_sample"]["sharpe"], one["in_sample"]["trades"]) for one in ranked]
    front = {
        (one["parameters"]["fast"], one["parameters"]["slow"])
        for one, pair in zip(ranked, pairs, strict=True)
        if not any(other != pair and other[0] >= pair[0] and other[1] >= pair[1] for other in pairs)
    }
    assert 1 < len(front) < len(ranked)
    page = open_page(Path(found["page"]).resolve())
    rows = page.run(FRONT)
    assert {(int(row[0]), int(row[1])) for row in rows} == front
    assert page.run("document.querySelectorAll('#front circle.front').length") == len(front)
    assert page.run("document.querySelectorAll('#front path.front').length") == 1
    count = f"{len(front)} of {len(ranked)} ranked combinations"
    assert page.run("document.getElementById('front-count').textContent") == count
    heads = page.run("[...document.querySelectorAll('#front-table th')].map(th => th.textContent)")
    assert heads == [
        *("fast", "slow", "Sharpe, in-sample", "Sharpe, out-of-sample"),
        *("trades, in-sample", "trades, out-of-sample"),
    ]
    texts = page.run("[...document.querySelectorAll('#front text')].map(one => one.textContent)")
    assert texts[:2] == ["Sharpe, in-sample", "trades, in-sample"]
    # From the lowest Sharpe ratio up, which is from the most trades down.
    trades = [int(row[4]) for row in rows]
    assert trades == sorted(trades, reverse=True)
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_another_pair_of_metrics_has_another_front_and_its_table_is_sorted(
    optimize: Run, open_page: Callable[..., BrowserTab], width: int
) -> None:
    page = open_page(Path(optimize(*GOALS)["page"]).resolve(), width)
    page.run(
        "(() => { const s = document.getElementById('front-up'); s.value = 'total_return';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    heads = page.run("[...document.querySelectorAll('#front-table th')].map(th => th.textContent)")
    assert heads[4:] == ["return, in-sample", "return, out-of-sample"]
    page.run("document.querySelectorAll('#front-table th')[4].focus()")
    page.key("Enter")
    returns = [float(row[4].rstrip("%")) for row in page.run(FRONT)]
    assert returns == sorted(returns)
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.complaints() == []


#: An optimization by random draws over wide bounds, whole numbers and others.
MANY = (
    *("--strategy", "many.py", "--sampler", "random", "--trials", "600", "--no-check"),
    *("--param", "whole=5:163", "--param", "part=0.11:0.93"),
)
STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from onetape.strategies import Signals, Strategy, parameter

@dataclass(frozen=True)
class Many(Strategy):
    name: ClassVar[str] = "many"
    lookback = 1
    whole: int = parameter(5, ge=1, le=500)
    part: float = parameter(0.5, ge=0.0, le=1.0)

    def evaluate(self, candles, higher):
        place = np.arange(len(candles)) % self.whole
        signal = np.where(place == 0, 1, np.where(place == int(self.whole * self.part), -1, 0))
        return Signals(signal.astype(np.int8), {})
"""


@pytest.fixture(scope="module")
def many_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the optimization that the tests share."""
    return tmp_path_factory.mktemp("many")


@pytest.fixture
def many_combinations(optimize: Run, folder: Path, many_folder: Path) -> Any:
    """Return an optimization of hundreds of combinations and parameter values."""
    document, page = many_folder / "optimization.json", many_folder / "page.html"
    if not document.exists():
        (folder / "many.py").write_text(STRATEGY)
        found = optimize(*MANY)
        shutil.copy(found["page"], page)
        document.write_text(json.dumps({**found, "page": str(page)}))
    return json.loads(document.read_text())


def list_axis_labels(page: BrowserTab, which: str) -> list[str]:
    """Return the names of a map's fields: `thead` those across, `tbody` those down."""
    found = f"document.querySelectorAll('#map-in_sample {which} th')"
    names = page.run(f"[...{found}].map((one) => one.textContent)")
    return names[1:] if which == "thead" else names


def test_bins_of_integers_have_integer_edges_and_contain_every_point(
    many_combinations: Any, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(many_combinations["page"]).resolve())
    bins = [tuple(map(int, name.split("-"))) for name in list_axis_labels(page, "thead")]
    found = sorted(one["parameters"]["whole"] for one in many_combinations["results"])
    assert (bins[0][0], bins[-1][-1]) == (found[0], found[-1])
    assert all(right[0] == left[-1] + 1 for left, right in itertools.pairwise(bins))
    assert {right[0] % 10 for right in bins[1:]} == {0}
    assert len(bins) <= 16
    assert list_axis_labels(page, "tbody")[1] == "0.2-0.3"
    filled = "document.querySelectorAll('#map-in_sample td button').length"
    pairs = {
        (next(at for at, ends in enumerate(bins) if ends[0] <= whole <= ends[-1]), int(part * 10))
        for whole, part in (one["parameters"].values() for one in many_combinations["results"])
    }
    assert page.run(filled) == len(pairs)


def test_no_map_is_wider_than_a_desktop_screen(
    many_combinations: Any, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(many_combinations["page"]).resolve(), 1280)
    wide = """
    [...document.getElementById('metric').options].filter((option) => {
      const select = document.getElementById('metric');
      select.value = option.value;
      select.dispatchEvent(new Event('change'));
      return [...document.querySelectorAll('.maps .scroll')].some((one) => one.scrollWidth > one.clientWidth);
    }).map((option) => option.value)
    """  # noqa: E501
    assert page.run(wide) == []
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_selecting_a_cell_moves_no_map(
    many_combinations: Any, open_page: Callable[..., BrowserTab], width: int
) -> None:
    page = open_page(Path(many_combinations["page"]).resolve(), width)
    top = "document.getElementById('map-in_sample').getBoundingClientRect().top"
    clicked = f"""
    [...new Set([...document.querySelectorAll('#map-in_sample td button')].map((button) => {{
      button.click();
      return {top};
    }}))]
    """
    assert [page.run(top)] == page.run(clicked)
    assert page.run("document.documentElement.scrollWidth") <= width


def test_the_scatter_plot_of_many_points_fills_its_card_and_shows_their_density(
    many_combinations: Any, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(many_combinations["page"]).resolve())
    cloud = "document.getElementById('cloud')"
    part = f"{cloud}.getBoundingClientRect().width / {cloud}.parentElement.clientWidth"
    assert page.run(part) > 0.9
    dots = f"[...{cloud}.querySelectorAll('circle')]"
    sizes = set(page.run(f"{dots}.slice(0, -1).map((one) => Number(one.getAttribute('r')))"))
    shades = page.run(f"{dots}.slice(0, -1).map((one) => Number(one.getAttribute('opacity')))")
    assert sizes == {2}
    assert 0 < min(shades) < max(shades) < 1
    assert page.run(f"{dots}.at(-1).getAttribute('class')") == "best"
    assert len(shades) < len(many_combinations["results"])


def test_the_page_has_the_row_of_buy_and_hold_of_the_terminal(
    optimize: Run, backtester: Run, open_page: Callable[..., BrowserTab]
) -> None:
    page = open_page(Path(optimize(*GRID)["page"]).resolve())
    row = page.run("[...document.querySelectorAll('tr.hold td')].map((one) => one.textContent)")
    lines = backtester("optimize", "--exchange", "simulator", *GRID).out.splitlines()
    (printed,) = [line.split() for line in lines if line.startswith("hold ")]
    assert [one for one in row if one] == printed


def test_terminal_table_and_cell_format_numbers_alike(
    optimize: Run, backtester: Run, open_page: Callable[..., BrowserTab]
) -> None:
    found = optimize(*GRID)
    best = found["results"][0]
    texts = {
        "sharpe": "{:,.2f}", "total_return": "{:.2%}", "max_drawdown": "{:.2%}", "trades": "{:,}"
    }  # fmt: skip
    wanted = [
        form.format(best[part][name])
        for name, form in texts.items()
        for part in ("in_sample", "out_of_sample")
    ]
    page = open_page(Path(found["page"]).resolve())
    row = page.run(
        "[...document.querySelectorAll('#combinations tbody tr:nth-child(2) td')]"
        ".map((one) => one.textContent)"
    )
    listed = page.run("[...document.querySelectorAll('#numbers dd')].map((one) => one.textContent)")
    lines = backtester("optimize", "--exchange", "simulator", *GRID).out.splitlines()
    (printed,) = [line.split() for line in lines if line.startswith("   1 ")]
    around = "{:,.2f}".format(best["neighbours"])
    assert row[3:] == [*wanted, around]
    assert printed[3:] == [*wanted, around]
    assert [text.partition(" ")[0] for text in listed[:8]] == wanted
