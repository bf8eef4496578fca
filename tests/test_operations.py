"""The settings, quoted outputs and commands of docs/operations.md are correct."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from onetape.cli.loading import load_settings
from onetape.cli.program import run_typer_app
from programs import Program
from trader.main import app
from trader.settings import TraderSettings

Capture = pytest.CaptureFixture[str]
#: Texts that the code puts together, or the system gives; tests of the trader have them as printed.
JOINED = (
    "still degraded after",
    "paused by",
    "halted by",
    "Read-only file system",
    "no session ran from",
)
SIMULATOR = ("--port", "0", "--speed", "3600", "--start", "2024-03-05T00:10")


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    """Return the page."""
    return (repository / "docs/operations.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sources(repository: Path) -> str:
    """Return the code of the trader and the libraries; texts that are continued are joined."""
    files = [*repository.glob("apps/trader/**/*.py"), *repository.glob("packages/*/src/**/*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


def list_commands(page: str) -> list[list[str]]:
    """Return the words of each `uv run trader` of the page, without comments."""
    lines = re.findall(r"uv run trader\b([^\n`|>&]*)", page)
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_and_flag_exists(page: str) -> None:
    group = get_command(app)
    known = group.commands  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType,reportUnknownVariableType] - a group
    found = list_commands(page)
    assert len(found) > 15
    for words in found:
        command = known[words[0]] if words and not words[0].startswith("-") else group  # pyright: ignore[reportUnknownVariableType]
        flags = {flag for option in command.params for flag in option.opts}  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
        assert {word for word in words if word.startswith("--")} <= flags, words


def test_every_quoted_output_of_the_page_is_in_the_code(page: str, sources: str) -> None:
    table = page[page.index("## 2. What you see") : page.index("## 3. ")]
    seen = re.findall(r"^\| (`[^|]+`(?:, `[^|]+`)*) \|", table, flags=re.MULTILINE)
    assert len(seen) > 15
    for cell in seen:
        for text in re.findall(r"`([^`]+)`", cell):
            # What differs from line to line: numbers, times and the name of the exchange.
            split = re.split(r"\.\.\.|: |\b\d+(?:\.\d+)?(?: [smh]\b)?|\bbinance\b", text)
            parts = [part.strip(" :;,()") for part in split]
            for part in parts:
                assert part in sources or part in JOINED, part


def test_the_settings_of_the_page_are_settings(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    whole = [text for text in blocks if not text.startswith("  trader-")]
    assert len(whole) == 2
    for text in whole:
        (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
        load_settings(TraderSettings, "trader", tmp_path / "one.yaml", {})


def test_the_commands_of_the_page_start_read_and_control_a_trader(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (first,) = re.findall(r"write `user/three.yaml`,\n\n```yaml\n(.*?)```", page, re.DOTALL)
    settings = yaml.safe_load(first)
    # So that a minute of market has something to show.
    settings["symbols"][0]["strategy"] = {"name": "sma_cross", "parameters": {"fast": 1, "slow": 2}}
    for folder in ("user", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "user/three.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    market = ("--exchange", "simulator")

    def run(*words: str) -> str:
        capsys.readouterr()
        assert run_typer_app(app, "trader", [*words, *market]) == 0, words
        return capsys.readouterr().out

    with Program("simulator", *SIMULATOR, folder=tmp_path) as simulator:
        url = re.findall(r"http://[\d.:]+\d", simulator.until("simulator:"))[0]
        flags = ("--config", "user/three.yaml", *market, "--simulator-url", url)
        with Program("trader", *flags, folder=tmp_path) as trader:
            trader.until("BTC/USDT", inside="bought ")
            trader.until("BTC/USDT", inside="sold ")
            shown = json.loads(run("status", "--json", "--here"))["traders"]
            assert [one["symbol"] for one in shown] == ["BTC/USDT", "ETH/USDT", "SOL/USDT"]
            for words in list_commands(page):
                if words and words[0] in ("status", "trades", "profit", "accounts", "logs"):
                    dated = [word for word in words if not word.startswith("2024")]
                    run(*[word for word in dated if word not in ("--from", "--since", "--watch")])
            moment = run("trades", "--csv", "--symbol", "BTC/USDT").splitlines()[1][:16]
            assert "order:" in run("explain", "--at", moment, "--symbol", "BTC/USDT")
            assert "trading against backtest" in run("report", "--symbol", "BTC/USDT")
            run("reload")
            trader.until("", inside="reload: the settings have not changed")
            run("pause")
            trader.until("BTC/USDT", inside="paused by")
            run("resume")
            trader.until("BTC/USDT", inside="resumed")
            run("halt")
            trader.until("BTC/USDT", inside="halted by")
            run("flatten")
            run("exit", "BTC/USDT")
            assert "command flatten BTC/USDT by" in run("logs")
            trader.send(signal.SIGTERM)
            assert trader.ends() == 0
    assert (tmp_path / "data/three.log").exists()
