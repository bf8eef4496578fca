"""What a search shows: its page in a real headless Chromium, and its bar in a terminal."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backtester.metric_table import LABELS
from browser import Page

Run = Callable[..., Any]
GRID = ("--strategy", "sma_cross", "--param", "fast=5:15:5", "--param", "slow=10,30")


def test_the_page_shows_both_maps_without_a_complaint(
    search: Run, open_page: Callable[..., Page]
) -> None:
    found = search(*GRID)
    page = open_page(Path(found["page"]).resolve())
    fields = "document.querySelectorAll('#map-{} td button').length"
    assert [page.run(fields.format(part)) for part in ("searched", "held_out")] == [4, 4]
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
  const inside = texts.every((one) => one.left >= 0 && one.right <= 640 && one.bottom <= 320);
  const last = document.querySelectorAll('#cloud text')[3].getBBox();
  return {over: over(texts).length, inside,
    apart: Math.abs(last.x + last.width - Math.max(...dots.map((dot) => dot.right)))};
})()
"""  # noqa: E501


def test_the_words_of_the_cloud_stand_at_their_ends_and_on_no_dot(
    search: Run, open_page: Callable[..., Page]
) -> None:
    page = open_page(Path(search(*GRID)["page"]).resolve())
    found = page.run(CLOUD)
    assert (found["over"], found["inside"]) == (0, True)
    assert found["apart"] <= 10


def test_a_click_on_a_field_tells_its_numbers_in_both_parts(
    search: Run, open_page: Callable[..., Page]
) -> None:
    found = search(*GRID)
    page = open_page(Path(found["page"]).resolve(), 390)
    page.click(*page.centre("#map-searched td button"))
    told = page.run("document.getElementById('selected').textContent")
    assert told.startswith("fast 5, slow 10: Sharpe ")
    assert "held out" in told
    assert page.run("document.querySelectorAll('td[aria-current=true]').length") == 2
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_page_and_terminal_call_a_metric_what_the_definitions_call_it(
    search: Run, backtester: Run, open_page: Callable[..., Page]
) -> None:
    page = open_page(Path(search(*GRID)["page"]).resolve())
    heads = page.run("[...document.querySelectorAll('#combinations th')].map(th => th.textContent)")
    options = page.run(
        "[...document.getElementById('metric').options].map(option => option.textContent)"
    )
    lines = backtester("search", "--exchange", "simulator", *GRID).out.splitlines()
    printed = [" ".join(line.split()) for line in lines]
    names = ["Sharpe", "return", "max drawdown", "trades"]
    assert [
        LABELS[field] for field in ("sharpe", "total_return", "max_drawdown", "trades")
    ] == names
    assert heads[3::2] == names
    assert options[:4] == names
    assert "fast slow " + " ".join(f"{name} held out" for name in names) in printed
    assert not [line for line in printed if "total_return" in line or "sharpe" in line]


def test_another_metric_redraws_the_maps(search: Run, open_page: Callable[..., Page]) -> None:
    page = open_page(Path(search(*GRID)["page"]).resolve())
    shown = "document.querySelector('#map-searched td button').textContent"
    before = page.run(shown)
    page.run(
        "(() => { const s = document.getElementById('metric'); s.value = 'trades';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    assert page.run(shown) != before
    assert page.run("document.querySelector('#map-searched td').style.background") != ""


def test_a_bar_moves_in_a_terminal_and_stdout_keeps_the_document(tape: Path, folder: Path) -> None:
    del tape
    master, slave = pty.openpty()
    program = Path(sys.executable).with_name("backtester")
    done = subprocess.run(
        [program, "search", "--exchange", "simulator", "--json", *GRID],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=slave,
        check=True,
        timeout=60,
    )
    os.close(slave)
    drawn = os.read(master, 100_000).decode()
    os.close(master)
    assert json.loads(done.stdout)["combinations"] == 4
    assert "combinations" in drawn
    assert "4/4" in drawn
