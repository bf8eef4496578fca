"""The setting `symbols`: each invalid entry is reported in one line with a remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onetape.cli.program import run_typer_app
from trader.main import app

EXAMPLE = "an example is symbols: [{symbol: BTC/USDT}, {symbol: ETH/USDT, strategy: {name: macd}}]"


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Return a function that starts a trader with these entries; it returns the line on stderr."""
    monkeypatch.chdir(tmp_path)

    def start(entries: str) -> str:
        Path("own.yaml").write_text(f"symbols:\n{entries}", encoding="utf-8")
        assert run_typer_app(app, "trader", ["-c", "own.yaml", "--exchange", "simulator"]) == 3
        assert not Path("data").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return start


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ("  - BTC/USDT\n", f"entry 1: expected object, found 'BTC/USDT'; {EXAMPLE}"),
        ("  - {symbol: BTC/USDT}\n  - {strategy: {name: rsi}}\n", "entry 2: symbol is missing"),
        ("  - {symbol: BTC/USDT, size: 1}\n", "entry 1: unknown key size, found "),
        ("  - {symbol: BTC/USDT, strategy: {nam: macd}}\n", "entry 1.strategy: unknown key nam"),
        ("  - {symbol: BTC/USDT}\n  - {symbol: btc/usdt}\n", "BTC/USDT is given twice"),
        ("  - {symbol: BTC/USDT}\n  - {symbol: ETH/EUR}\n", "ETH/EUR in EUR; an account has one"),
        (
            "  - {symbol: ETH/USDT, strategy: {name: sma_cross, parameters: {period: 3}}}\n",
            "ETH/USDT: strategy sma_cross has no parameter 'period' (it has: fast, slow)",
        ),
        (
            "  - {symbol: ETH/USDT, strategy: {name: rsi, parameters: {period: 0}}}\n",
            "ETH/USDT: strategy rsi: period must be 2 to 500, found 0",
        ),
    ],
)
def test_an_invalid_entry_of_the_list_prints_one_line_with_the_entry(
    refused: Callable[[str], str], entries: str, text: str
) -> None:
    line = refused(entries)
    assert line.startswith("trader: own.yaml:1: symbols: ")
    assert text in line


def test_a_freqtrade_file_for_one_symbol_of_several_is_refused(
    refused: Callable[[str], str],
) -> None:
    Path("own.py").write_text(
        "from freqtrade.strategy import IStrategy\n\n\nclass Own(IStrategy):\n"
        '    timeframe = "1h"\n    stoploss = -0.1\n',
        encoding="utf-8",
    )
    line = refused("  - {symbol: BTC/USDT}\n  - {symbol: ETH/USDT, strategy: {name: own.py}}\n")
    assert "ETH/USDT: own.py is a freqtrade strategy, whose stops and timeframe are those" in line
