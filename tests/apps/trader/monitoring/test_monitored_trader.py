"""A trader's process with JSON log, alerts, heartbeat, and commands by signal."""

import json
import re
import shlex
import signal
import sys
import time
from pathlib import Path

import yaml

from programs import Program
from session_harness import OFTEN

NOTIFIER = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"
SIMULATOR = ("--port", "0", "--speed", "1800", "--start", "2024-03-01T00:10")


def read_heartbeat(folder: Path) -> set[str]:
    """Return the states of the newest heartbeat; on a busy machine there may be none yet."""
    path = folder / "beat.json"
    if not path.exists():
        return set()
    return set(json.loads(path.read_text(encoding="utf-8"))["states"].values())


def test_a_trader_reports_by_log_alerts_and_heartbeat_and_handles_signals(tmp_path: Path) -> None:
    (tmp_path / "often.py").write_text(OFTEN, encoding="utf-8")
    notifier = shlex.join([sys.executable, "-c", NOTIFIER, str(tmp_path / "alerts")])
    settings = {
        "strategy": {"name": "often.py:Often"},
        "monitoring": {
            "log_json": "trader.log",
            "alert_command": notifier,
            "heartbeat_file": "beat.json",
            "heartbeat_seconds": 1,
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with Program("simulator", *SIMULATOR, folder=tmp_path) as simulator:
        url = re.findall(r"http://[\d.:]+\d", simulator.until("simulator:"))[0]
        flags = ("-c", "own.yaml", "--exchange", "simulator", "--simulator-url", url)
        with Program("trader", *flags, folder=tmp_path) as trader:
            trader.until("bought ")
            trader.until("sold ")
            trader.send(signal.SIGUSR1)
            trader.until("paused by signal SIGUSR1")
            deadline = time.monotonic() + 180
            while read_heartbeat(tmp_path) != {"trading"}:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            trader.send(signal.SIGTERM)
            assert trader.ends() == 0
    events = [json.loads(line) for line in (tmp_path / "trader.log").read_text().splitlines()]
    candles = [one for one in events if one["event"] == "candle"]
    assert len({one["candle"] for one in candles}) == len(candles) > 1
    assert {one["symbol"] for one in candles} == {"BTC/USDT"}
    trades = [one["side"] for one in events if one["event"] == "fill"]
    assert trades[:2] == ["buy", "sell"]
    alerts = [json.loads(line) for line in (tmp_path / "alerts").read_text().splitlines()]
    assert [one["side"] for one in alerts if one["event"] == "fill"] == trades
    commands = [(one["verb"], one["given_by"]) for one in alerts if one["event"] == "control"]
    assert commands == [("pause", "signal SIGUSR1")]
    assert [one["text"] for one in alerts if one["event"] == "session"] == [
        "session started with often",
        "session ended: SIGTERM",
    ]
