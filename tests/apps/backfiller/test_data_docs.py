"""The commands of docs/data.md, run in the order of the page on files as it names them."""

import glob
import re
import shlex
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., Any]
HOUR = 3_600
#: 2024-02-19 00:00 UTC, where six hourly candles are missing.
GAP = 1_708_300_800
#: 2024-02-14 09:00 UTC, where three are missing.
EARLIER_GAP = 1_707_901_200


@pytest.fixture
def page(repository: Path) -> str:
    """Return the page."""
    return (repository / "docs/data.md").read_text(encoding="utf-8")


def iterate_rows(start: int, count: int, step: int) -> Iterator[tuple[int, str]]:
    """Yield times and the rest of candle rows, without those of the two gaps."""
    for time in range(start, start + count * step, step):
        if not (GAP <= time < GAP + 6 * HOUR or EARLIER_GAP <= time < EARLIER_GAP + 3 * HOUR):
            yield time, "100,101,99,100.5,7"


def write_files(folder: Path) -> None:
    """Write a file of each kind that the page imports."""
    plain = [f"{time},{row}" for time, row in iterate_rows(GAP - 144 * HOUR, 192, HOUR)]
    (folder / "mine.csv").write_text("timestamp,open,high,low,close,volume\n" + "\n".join(plain))
    binance = [
        f"{time * 1000},{row},{(time + HOUR) * 1000 - 1},700,3,4,400,0"
        for time, row in iterate_rows(GAP - 40 * 24 * HOUR, 48, HOUR)
    ]
    with zipfile.ZipFile(folder / "BTCUSDT-1h-2024-01.zip", "w") as archive:
        archive.writestr("BTCUSDT-1h-2024-01.csv", "\n".join(binance))
    kraken = [f"{time},{row},3" for time, row in iterate_rows(GAP - 48 * HOUR, 24, HOUR)]
    with zipfile.ZipFile(folder / "Kraken_OHLCVT.zip", "w") as archive:
        archive.writestr("XBTUSD_60.csv", "\n".join(kraken))
        archive.writestr("ETHUSD_60.csv", "\n".join(kraken))
    minutes = [
        (time, *map(float, row.split(","))) for time, row in iterate_rows(GAP - HOUR, 12, 300)
    ]
    frame = pd.DataFrame(minutes, columns=["date", "open", "high", "low", "close", "volume"])
    frame["date"] = pd.to_datetime(frame["date"], unit="s", utc=True).dt.as_unit("ms")
    (folder / "user_data/data/binance").mkdir(parents=True)
    frame.to_feather(folder / "user_data/data/binance/BTC_USDT-5m.feather")
    single = [f"{time},{row}" for time, row in iterate_rows(GAP - HOUR, 60, 60)]
    (folder / "binance_BTC-USDT_1m.csv").write_text("\n".join(single))


def list_commands(page: str) -> list[list[str]]:
    """Return the words of each command that works without an exchange, file names expanded."""
    lines = re.findall(r"^uv run backfiller ([^\n#]*)", page, re.MULTILINE)
    found = [shlex.split(line) for line in lines]
    return [[name for word in one for name in glob.glob(word) or [word]] for one in found]  # noqa: PTH207 - as a shell does


def test_the_commands_of_the_page_work_in_the_order_of_the_page(
    page: str, folder: Path, backfiller: Run
) -> None:
    write_files(folder)
    assert backfiller("import", "binance_BTC-USDT_1m.csv").code == 0
    ran = [(" ".join(words), backfiller(*words)) for words in list_commands(page)]
    assert len(ran) >= 10
    assert [(line, ended.err) for line, ended in ran if ended.code] == []
    printed = {line: ended.out for line, ended in ran}
    accepted = next(out for line, out in printed.items() if "--because outage" in line)
    assert "6 candles" in accepted
