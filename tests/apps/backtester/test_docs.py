"""The pages about strategies, tried as a new user would: files written, commands run."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def written(page: Path, folder: Path) -> list[Path]:
    """Write the files of a page that begin with their own path; return them."""
    blocks = re.findall(r"```python\n# (user/\S+)\n(.*?)```", page.read_text(), re.DOTALL)
    for name, text in blocks:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [folder / name for name, _ in blocks]


def commands(page: Path) -> list[list[str]]:
    """Return the backtester's commands of a page, in their order."""
    lines = re.findall(r"^uv run backtester (.*)$", page.read_text(), re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_page_about_strategies_does_what_it_says(
    backtester: Run, tape: Path, folder: Path, repository: Path
) -> None:
    del tape
    page = repository / "docs" / "strategies.md"
    assert len(written(page, folder)) == 2
    ran = [(" ".join(arguments), backtester(*arguments)) for arguments in commands(page)]
    assert len(ran) >= 6
    assert [(line, ended.err) for line, ended in ran if ended.code] == []
    checked = next(ended for line, ended in ran if line.startswith("check"))
    assert re.fullmatch(r"check: ([\d,]+) of \1 bars clean\n", checked.out)


@pytest.mark.parametrize(("name", "strategy"), [("strategies", "dip"), ("freqtrade", "ported")])
def test_a_strategy_of_the_docs_trades_and_is_clean(
    on_tape: Run, backtester: Run, folder: Path, repository: Path, name: str, strategy: str
) -> None:
    written(repository / "docs" / f"{name}.md", folder)
    assert on_tape("--strategy", strategy).document["trades"]
    assert backtester("check", "--exchange", "simulator", "--strategy", strategy).code == 0


@pytest.mark.parametrize(
    "word",
    [
        *("populate_indicators", "populate_entry_trend", "populate_exit_trend", "minimal_roi"),
        *("custom_stoploss", "informative_pairs", "enter_tag", "exit_tag", "startup_candle_count"),
    ],
)
def test_what_a_freqtrade_user_knows_is_mapped(repository: Path, word: str) -> None:
    page = (repository / "docs" / "freqtrade.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    (ours,) = [row[1] for row in rows if f"`{word}" in row[0]]
    assert len(ours.strip(" |")) > 10


@pytest.mark.parametrize("word", ["Shorts", "leverage", "DCA"])
def test_what_a_freqtrade_user_will_miss_is_said(repository: Path, word: str) -> None:
    page = (repository / "docs" / "freqtrade.md").read_text()
    assert word in page.partition("## What has no equivalent")[2]


def test_the_test_of_the_docs_passes(folder: Path, repository: Path) -> None:
    from onetape.strategies.testing import random_candles, window_difference

    (path, test) = written(repository / "docs" / "strategies.md", folder)
    assert 'window_difference(f"{FILE}:Dip", random_candles(1_000, seed=1)) is None' in (
        test.read_text()
    )
    assert window_difference(f"{path}:Dip", random_candles(1_000, seed=1)) is None
