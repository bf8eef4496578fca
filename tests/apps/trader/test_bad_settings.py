"""Invalid settings are refused by file, line and key, and nothing is written."""

import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onetape.core.errors import ConfigurationError
from trader.main import app

#: Text of a settings file, and a part of the error.
BAD = [
    ("stop_los: 0.05", "c.yaml:1: unknown key 'stop_los'"),
    ("account: {exits: 1}", "c.yaml:1: unknown key 'account.exits'"),
    ("timeframe: [1]", "c.yaml:1: timeframe: expected str"),
    ("account: {cash: [1]}", "c.yaml:1: account.cash"),
    ("symbol: !!python/object/apply:os.mkdir [made]", "is not allowed here"),
    ('symbol: "BTC/USDT\'; DROP TABLE accounts; --"', "was not understood"),
    ("symbol: ../../etc/passwd", "was not understood"),
    ("strategy: {name: ../../evil}", "evil"),
    ("simulator_url: ftp://example.com", "is not an address"),
    ("simulator_url: file:///etc/passwd", "is not an address"),
]


@pytest.mark.parametrize(("text", "error"), BAD)
def test_row_75_invalid_settings_are_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("c.yaml").write_text(f"{text}\n")
    result = CliRunner().invoke(app, ["-c", "c.yaml", "--exchange", "simulator"])
    assert isinstance(result.exception, ConfigurationError)
    assert error in str(result.exception)
    assert [one.name for one in tmp_path.rglob("*")] == ["folder", "c.yaml"]


def test_row_75_settings_with_any_unknown_key_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(75)  # noqa: S311 - a seeded test
    for _ in range(50):
        key = "x_" + "".join(chance.choices("abcdefghijklmnopqrstuvwxyz_/;.", k=12)) + "x"
        Path("c.yaml").write_text(f'"{key}": 1\n')
        result = CliRunner().invoke(app, ["-c", "c.yaml", "--exchange", "simulator"])
        assert isinstance(result.exception, ConfigurationError)
        assert f"c.yaml:1: unknown key '{key}'" in str(result.exception)
    assert [one.name for one in tmp_path.rglob("*")] == ["c.yaml"]
