"""What `backtester new-strategy` prints to go on with runs as it is printed."""

import os
import re
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from onetape.core.candles import Candle, SeriesKey
from onetape.store.candles import insert_closed
from onetape.store.database import open_store

Run = Callable[..., Any]
#: Nothing is to be left in the folder.
QUIET = "-p no:cacheprovider"


def printed(backtester: Run) -> list[str]:
    """Return the commands that a new strategy is printed with."""
    ended = backtester("new-strategy", "my_trend")
    assert (ended.code, ended.err) == (0, "")
    return re.findall(r"^[a-z ]+: +(uv run .*)$", ended.out, re.MULTILINE)


def failures(commands: list[str], folder: Path, repository: Path) -> list[tuple[str, str]]:
    """Run commands exactly as they are printed, in a shell; return those that failed."""
    # The checkout is elsewhere, and its environment is there already.
    checkout = {"UV_PROJECT": str(repository), "UV_NO_SYNC": "1", "UV_OFFLINE": "1"}
    failed: list[tuple[str, str]] = []
    for command in commands:
        done = subprocess.run(  # noqa: S602 - as a person types it
            command,
            shell=True,
            cwd=folder,
            env={**os.environ, **checkout, "PYTEST_ADDOPTS": QUIET},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            failed.append((command, done.stdout + done.stderr))
    return failed


def store(
    file: Path, key: SeriesKey, count: int = 200, missing: Collection[int] = (), start: int = 0
) -> None:
    """Store candles of a series, but for those of these numbers."""
    file.parent.mkdir(exist_ok=True)
    with open_store(file, create=True) as opened:
        rows = [
            Candle(start + 3_600 * at, 1.0, 1.0, 1.0, 1.0, 1.0)
            for at in range(count)
            if at not in missing
        ]
        insert_closed(opened, key, rows, source="rest", seen_ms=0)


def test_where_nothing_is_stored_the_commands_store_candles_and_run(
    backtester: Run, folder: Path, repository: Path
) -> None:
    commands = printed(backtester)
    assert [command.split()[2] for command in commands] == [
        "backfiller", "pytest", "backtester", "backtester"
    ]  # fmt: skip
    assert failures(commands, folder, repository) == []


def test_where_only_simulated_candles_are_stored_the_commands_name_the_simulator_and_run(
    backtester: Run, tape: Path, folder: Path, repository: Path
) -> None:
    del tape
    commands = printed(backtester)
    assert commands == [
        "uv run pytest user/strategies",
        "uv run backtester check --strategy my_trend --exchange simulator",
        "uv run backtester --strategy my_trend --exchange simulator",
    ]
    text = (folder / "user" / "strategies" / "my_trend.py").read_text()
    assert text.split('"""')[1].splitlines()[2:] == commands
    assert failures(commands, folder, repository) == []


def test_what_the_settings_name_is_not_named_again(
    backtester: Run, tape: Path, folder: Path
) -> None:
    del tape
    settings = folder / "user" / "config" / "backtester.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("exchange: simulator\n")
    assert printed(backtester)[-1] == "uv run backtester --strategy my_trend"


def test_another_stored_series_is_named(backtester: Run, folder: Path) -> None:
    store(folder / "data" / "onetape.db", SeriesKey("kraken", "ETH/EUR", "1h"))
    assert printed(backtester)[-1] == (
        "uv run backtester --strategy my_trend --exchange kraken --symbol ETH/EUR"
    )


def test_real_candles_go_before_simulated_ones(backtester: Run, tape: Path, folder: Path) -> None:
    del tape
    store(folder / "data" / "onetape.db", SeriesKey("binance", "ETH/USDT", "1h"))
    assert printed(backtester)[-1] == "uv run backtester --strategy my_trend --symbol ETH/USDT"


#: 2024-01-01 00:00 UTC.
START = 1_704_067_200
DAY = 24


@pytest.mark.parametrize(
    ("missing", "stretch"),
    [
        ({10 * DAY}, "--from 2024-01-11T01:00 --to 2024-02-10"),
        ({10 * DAY, 39 * DAY}, "--from 2024-01-11T01:00 --to 2024-02-09"),
    ],
    ids=["the newest", "the newest long one"],
)
def test_where_candles_are_missing_unexplained_a_whole_stretch_is_named_and_the_commands_run(
    backtester: Run, folder: Path, missing: set[int], stretch: str
) -> None:
    key = SeriesKey("binance", "BTC/USDT", "1h")
    store(folder / "data" / "onetape.db", key, 40 * DAY, missing, START)
    commands = printed(backtester)
    assert commands[-2:] == [
        f"uv run backtester check --strategy my_trend {stretch}",
        f"uv run backtester --strategy my_trend {stretch}",
    ]
    for command in commands[-2:]:
        ended = backtester(*command.split()[3:])
        assert (ended.code, ended.err) == (0, "")


def test_where_every_stretch_is_shorter_than_a_warm_up_the_longest_is_named(
    backtester: Run, folder: Path
) -> None:
    key = SeriesKey("binance", "BTC/USDT", "1h")
    missing = {*range(DAY, 960, 2 * DAY)}
    store(folder / "data" / "onetape.db", key, 40 * DAY, missing, START)
    check, run = printed(backtester)[-2:]
    assert run == "uv run backtester --strategy my_trend --from 2024-01-02T01:00 --to 2024-01-04"
    # No bar behind a hole has a full warm-up: the run trades nothing, the check has no bar.
    assert (backtester(*run.split()[3:]).code, backtester(*check.split()[3:]).code) == (0, 4)


def test_a_range_of_the_settings_that_is_not_stored_gives_way_to_one_that_is(
    backtester: Run, folder: Path
) -> None:
    store(folder / "data" / "onetape.db", SeriesKey("binance", "BTC/USDT", "1h"), 240, (), START)
    settings = folder / "user" / "config" / "backtester.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("from: 2020-01-01\n")
    command = printed(backtester)[-1]
    assert command.endswith("--strategy my_trend --from 2024-01-01 --to 2024-01-11")
    assert backtester(*command.split()[3:]).code == 0


def test_settings_that_cannot_be_used_are_told_before_anything_is_written(
    backtester: Run, folder: Path
) -> None:
    settings = folder / "user" / "config" / "backtester.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("exchangee: simulator\n")
    ended = backtester("new-strategy", "my_trend")
    assert (ended.code, ended.out) == (3, "")
    assert not (folder / "user" / "strategies").exists()
