"""The program `simulator` as a process: serving, options, errors, signals."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.cli.program import run_typer_app
from onetape.simulator.main import app

COMMAND = [sys.executable, "-m", "onetape.simulator.main"]


def get(url: str, path: str) -> Any:
    with urllib.request.urlopen(f"{url}{path}", timeout=180) as response:  # noqa: S310 - loopback
        return json.loads(response.read())


def read_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().split(" at ")[1].split(";")[0]


@contextmanager
def start_program(*arguments: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_simulator_prints_its_address_and_stops_cleanly(number: signal.Signals) -> None:
    with start_program(
        "--port", "0", "--start", "2024-03-01", "--speed", "60", "--seed", "5"
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("simulator: invented market, seed 5, at http://127.0.0.1:")
        assert "market time 2024-03-01 00:00 UTC, 60 times as fast" in line
        url = line.split(" at ")[1].split(";")[0]
        with urllib.request.urlopen(f"{url}/api/v3/ping", timeout=180) as response:  # noqa: S310 - loopback
            assert response.read() == b"{}"
        process.send_signal(number)
        out, err = process.communicate(timeout=180)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_timeline_is_read_and_each_fault_printed_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n  - {kind: status, path: /api/v3/ping, status: 418}\n")
    with start_program("--port", "0", "--faults", str(file), "--verbose") as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" at ")[1].split(";")[0]
        with pytest.raises(urllib.error.HTTPError, match="418"):
            urllib.request.urlopen(f"{url}/api/v3/ping", timeout=180)  # noqa: S310 - loopback
        process.terminate()
        _, err = process.communicate(timeout=180)
    assert err.startswith("simulator: fault 1: status on GET /api/v3/ping, call 1, market time ")
    assert process.returncode == 0


def test_recordings_are_played_and_missing_ones_reported(tmp_path: Path) -> None:
    file = tmp_path / "recorded.json"
    file.write_text('{"items": [{"name": "x", "body": {"a": 1}}]}')
    with start_program("play", str(file), "--route", "x=GET /x", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("simulator play: 1 reply, 0 messages, at http://127.0.0.1:")
        url = line.split(" at ")[1].split(". ")[0]
        with urllib.request.urlopen(f"{url}/x", timeout=180) as response:  # noqa: S310 - loopback
            assert response.read() == b'{"a":1}'
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/y", timeout=180)  # noqa: S310 - loopback
        process.terminate()
        _, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "not recorded: GET /y\n")


def test_a_port_in_use_prints_one_line_and_exits_with_3() -> None:
    with start_program("--port", "0") as process:
        assert process.stdout is not None
        port = process.stdout.readline().split(";")[0].rsplit(":", 1)[1]
        second = run_program("--port", port)
    assert second.returncode == 3
    assert second.stderr.startswith(f"simulator: port {port} on 127.0.0.1 is in use")
    assert second.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--host", "0.0.0.0"], 7, "can be reached from other machines"),  # noqa: S104 - refused
        (["--speed", "0"], 2, "speed must be above 0"),
        (["--stepped", "--speed", "2"], 2, "a stepped clock has no speed"),
        (["--start", "yesterday"], 2, "'yesterday' was not understood"),
        (["--start", "1999-01-01"], 2, "2010-01-01 to 2041-11-24"),
        (["--port", "70000"], 2, "65535"),
    ],
)
def test_an_invalid_option_prints_one_line_and_exits_with_its_code(
    arguments: list[str],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_typer_app(app, "simulator", arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert text in printed.err
    assert printed.err.count("\n") == 1


def test_help_imports_neither_the_server_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from onetape.cli.program import run_typer_app\n"
        "from onetape.simulator.main import app\n"
        "run_typer_app(app, 'simulator', ['--help'])\n"
        "heavy = {'aiohttp', 'numpy', 'pandas', 'ccxt', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy - {'asyncio'} else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--seed" in result.stdout


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=180, env=environment
    )


def test_recorded_candles_are_replayed_from_a_time_inside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine_BTC-USDT_1h.csv"
    rows = [f"{1_709_251_200 + 3_600 * row},100,{101 + row},99,100,5" for row in range(8)]
    file.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    with start_program("--port", "0", "--data", str(file), "--stepped") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"simulator: replay of {file}, seed 7, at http://127.0.0.1:")
        assert "market time 2024-03-01 04:00 UTC" in line
        url = line.split(" at ")[1].split(";")[0]
        path = f"{url}/api/v3/klines?symbol=BTCUSDT&interval=1h&endTime=1709265599999"
        with urllib.request.urlopen(path, timeout=180) as response:  # noqa: S310 - loopback
            candles = json.loads(response.read())
        process.terminate()
        process.communicate(timeout=180)
    assert [row[2] for row in candles] == [f"{101 + row}.00000000" for row in range(4)]


def test_a_file_that_cannot_be_replayed_prints_one_line_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_typer_app(app, "simulator", ["--data", str(tmp_path / "nope.db")]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "file not found" in printed.err


def test_the_balance_option_sets_the_account_and_the_ledger_shows_it() -> None:
    stands = ("--stepped", "--start", "2024-03-01", "--port", "0")
    with start_program(*stands, "--balance", "USDT=5000,BTC=0.5") as process:
        url = read_url(process)
        order = urllib.request.Request(  # noqa: S310 - loopback
            f"{url}/simulator/account/sell",
            b'{"symbol": "BTC/USDT", "quantity": "0.2"}',
            {"X-Onetape-Control": "1"},
        )
        with urllib.request.urlopen(order, timeout=180) as response:  # noqa: S310 - loopback
            assert response.status == 200
        day = ("--symbol", "BTC/USDT", "--from", "2024-02-28", "--to", "2024-02-29")
        reported = run_program("ledger", "--url", url, "--json", *day)
        seen = run_program("ledger", "--url", url)
    assert (reported.returncode, reported.stderr) == (0, "")
    document = json.loads(reported.stdout)
    assert document["account"]["BTC"] == {"free": "0.30000000", "locked": "0.00000000"}
    opening = [row for row in document["balances"] if row["reason"] == "opening"]
    assert {row["asset"]: row["free"] for row in opening} == {
        "USDT": "5000.00000000", "BTC": "0.50000000"
    }  # fmt: skip
    (fill,) = document["fills"]
    earned = Decimal(fill["value"]) - Decimal(fill["fee"])
    assert Decimal(document["account"]["USDT"]["free"]) == 5_000 + earned
    assert [row["event"] for row in document["orders"]] == ["NEW", "TRADE"]
    assert len(document["candles"]) == 24
    assert "1 order (0 open), 1 fill" in seen.stdout


def test_equal_seeds_give_equal_markets_and_other_seeds_others() -> None:
    query = "symbol=BTCUSDT&interval=1h&limit=50&endTime=1709251199999"
    paths = (f"/api/v3/klines?{query}", "/api/v3/trades?symbol=ETHUSDT&limit=50")

    def seen(seed: str) -> list[Any]:
        with start_program(
            "--port", "0", "--stepped", "--start", "2024-03-01", "--seed", seed
        ) as one:
            url = read_url(one)
            return [get(url, path) for path in paths]

    one, again, other = seen("5"), seen("5"), seen("6")
    assert [len(rows) for rows in one] == [50, 50]
    assert one == again
    assert not {row[4] for row in one[0]} & {row[4] for row in other[0]}
