"""JSON log, alerts and heartbeats, which never delay trading."""

import json
import os
import shlex
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from onetape.cli.events import add_event_fields, log_event
from onetape.core.errors import ConfigurationError, UsageError
from trader.monitoring import alerts, heartbeat, json_log
from trader.monitoring.heartbeat import note_heartbeat
from trader.monitoring.monitored_run import start_monitoring
from trader.monitoring.settings import MonitoringSettings

MAX_WAIT_SECONDS = 180.0
#: Appends stdin and a variable of the environment to a file.
NOTIFIER = """
import os, sys
with open(sys.argv[1], "a") as file:
    file.write(sys.stdin.read() + "|" + os.environ["ONETAPE_STATE"] + "\\n")
"""


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


def make_command(source: str, *arguments: str | Path) -> str:
    return shlex.join([sys.executable, "-c", source, *map(str, arguments)])


def read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def log_degraded(text: str = "degraded: the disk is full") -> None:
    log_event("state", text, level="WARNING", state="degraded")


def test_each_event_is_one_line_of_json_with_its_account(tmp_path: Path) -> None:
    file = tmp_path / "trader.log"
    with start_monitoring(MonitoringSettings(log_json=file)), add_event_fields(account="mine"):
        log_event("candle", "14:00 close 61,240: HOLD", close=float("nan"), signal=0)
    (line,) = read_lines(file)
    document = json.loads(line)
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "INFO",
        "event": "candle",
        "text": "14:00 close 61,240: HOLD",
        "account": "mine",
        "close": None,
        "signal": 0,
    }


def test_a_full_log_file_is_renamed_and_the_oldest_one_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_log, "MOST_BYTES", 300)
    monkeypatch.setattr(json_log, "MAX_OLD_FILES", 2)
    with start_monitoring(MonitoringSettings(log_json=tmp_path / "new" / "trader.log")):
        for number in range(20):
            log_event("line", f"line {number}")
    folder = tmp_path / "new"
    assert sorted(path.name for path in folder.iterdir()) == [
        "trader.log",
        "trader.log.1",
        "trader.log.2",
    ]
    assert json.loads(read_lines(folder / "trader.log")[-1])["text"] == "line 19"


def test_an_alert_is_the_event_on_stdin_and_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "alerts"
    settings = MonitoringSettings(alert_command=make_command(NOTIFIER, file))
    with start_monitoring(settings):
        log_event("candle", "no alert")
        log_degraded()
        wait_until(lambda: read_lines(file))
    (line,) = read_lines(file)
    document, state = line.rsplit("|", 1)
    assert json.loads(document)["text"] == "degraded: the disk is full"
    assert state == "degraded"


def test_a_command_of_a_person_is_an_alert_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "alerts"
    notifier = """
import os, sys
with open(sys.argv[1], "a") as file:
    file.write(os.environ["ONETAPE_VERB"] + " by " + os.environ["ONETAPE_GIVEN_BY"] + "\\n")
"""
    commands = ["pause", "resume", "exit", "halt", "flatten"]
    with start_monitoring(MonitoringSettings(alert_command=make_command(notifier, file))):
        log_event("control", "reload: the settings have not changed")
        for verb in commands:
            log_event("control", f"{verb} by anna", verb=verb, given_by="anna on host")
        wait_until(lambda: len(read_lines(file)) == len(commands))
    assert sorted(read_lines(file)) == sorted(f"{verb} by anna on host" for verb in commands)


def test_a_command_for_the_account_is_one_alert_although_each_symbol_prints_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "commands"
    source = """
import os, sys
with open(sys.argv[1], "a") as file:
    file.write(os.environ["ONETAPE_VERB"] + "\\n")
"""
    with start_monitoring(MonitoringSettings(alert_command=make_command(source, file))):
        for number, verb in enumerate(("pause", "resume", "pause", "halt", "flatten")):
            for symbol in ("BTC/USDT", "ETH/USDT"):
                log_event("control", f"{symbol}: {verb}", verb=verb, number=number, given_by="anna")
    expected = ["flatten", "flatten", "halt", "pause", "pause", "resume"]
    assert sorted(read_lines(file)) == expected


def test_a_notifier_that_hangs_delays_neither_the_trader_nor_the_next_alert(
    tmp_path: Path,
) -> None:
    started, done = tmp_path / "started", tmp_path / "done"
    hangs = f"""
import os, sys, time
text = sys.stdin.read()
if "first" in text:
    with open({str(started)!r}, "w") as file:
        file.write(str(os.getpid()) + "\\n")
    time.sleep(600)
open({str(done)!r}, "w").close()
"""
    began = time.monotonic()
    settings = MonitoringSettings(alert_command=make_command(hangs), alert_timeout_seconds=600.0)
    with start_monitoring(settings):
        log_degraded("first")
        wait_until(lambda: read_lines(started))
        for _ in range(1_000):
            log_event("line", "trading goes on")
        log_degraded("second")
        wait_until(done.exists)
        os.kill(int(read_lines(started)[0]), signal.SIGKILL)
    assert time.monotonic() - began < MAX_WAIT_SECONDS


def test_the_last_alert_is_sent_although_earlier_notifiers_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "END_SECONDS", 1.0)
    started = tmp_path / "started"
    hangs = f"""
import os, sys, time
text = sys.stdin.read()
with open({str(started)!r}, "a") as file:
    file.write(("ended" if "session ended" in text else str(os.getpid())) + "\\n")
if "session ended" not in text:
    time.sleep(600)
"""
    settings = MonitoringSettings(alert_command=make_command(hangs), alert_timeout_seconds=3_600)
    with start_monitoring(settings):
        for number in range(alerts.WORKERS):
            log_degraded(f"problem {number}")
        wait_until(lambda: len(read_lines(started)) == alerts.WORKERS)
        log_event("session", "session ended: SIGTERM")
    try:
        wait_until(lambda: "ended" in read_lines(started))
    finally:
        for pid in read_lines(started):
            if pid.isdecimal():
                os.kill(int(pid), signal.SIGKILL)


def test_a_notifier_is_killed_with_its_child_processes_at_its_deadline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = tmp_path / "pid"
    forks = shlex.join(["sh", "-c", f"sleep 600 & echo $! > {shlex.quote(str(noted))}; sleep 600"])
    printed: list[str] = []

    def is_killed() -> bool:
        printed.append(capsys.readouterr().out)
        return "s and was killed" in "".join(printed)

    # A busy machine may kill the first one before it has noted what it started.
    for seconds, words in ((1.5, "within 2 s"), (30.0, "within 30 s")):
        printed.clear()
        settings = MonitoringSettings(alert_command=forks, alert_timeout_seconds=seconds)
        with start_monitoring(settings):
            log_degraded()
            wait_until(is_killed)
        assert f"did not end {words} and was killed" in "".join(printed)
        if read_lines(noted):
            break
    (pid,) = map(int, read_lines(noted))
    wait_until(lambda: not _is_running(pid))


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_failing_notifier_is_printed_once_with_its_error_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fails = make_command("import sys; sys.exit('no such channel')")
    printed: list[str] = []

    def is_printed() -> bool:
        printed.append(capsys.readouterr().out)
        return "exit code 1: no such channel" in "".join(printed)

    with start_monitoring(MonitoringSettings(alert_command=fails)):
        for _ in range(5):
            log_degraded()
        wait_until(is_printed)
    printed.append(capsys.readouterr().out)
    assert "".join(printed).count("alert_command failed: ") == 1


@contextmanager
def serve_and_count() -> Generator[tuple[str, list[str]]]:
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the library
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/ping", requested
        finally:
            server.shutdown()
            thread.join()


def test_a_working_trader_writes_a_heartbeat_to_a_file_and_requests_an_address(
    tmp_path: Path,
) -> None:
    file = tmp_path / "beat.json"
    with serve_and_count() as (url, requested):
        settings = MonitoringSettings(heartbeat_file=file, heartbeat_url=url, heartbeat_seconds=1)
        with start_monitoring(settings):
            note_heartbeat("mine", "BTC/USDT", "degraded")
            wait_until(lambda: requested and file.exists())
    document = json.loads(file.read_text(encoding="utf-8"))
    assert (document["process"], document["states"]) == (
        os.getpid(),
        {"mine, BTC/USDT": "degraded"},
    )
    assert requested[0] == "/ping"
    assert [path.name for path in tmp_path.iterdir()] == ["beat.json"]


@pytest.mark.parametrize("reason", ["halted", "stale"])
def test_a_trader_that_is_halted_or_hangs_does_not_request_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    file = tmp_path / "beat.json"
    with serve_and_count() as (url, requested):
        settings = MonitoringSettings(heartbeat_file=file, heartbeat_url=url, heartbeat_seconds=1)
        sender = heartbeat._HeartbeatSender(settings)  # pyright: ignore[reportPrivateUsage]
        heartbeat._beats.clear()  # pyright: ignore[reportPrivateUsage]
        note_heartbeat("mine", "BTC/USDT", "halted" if reason == "halted" else "trading")
        if reason == "stale":
            monkeypatch.setattr(heartbeat, "STALE_SECONDS", -1.0)
        assert sender._send() == (reason == "halted")  # pyright: ignore[reportPrivateUsage]
    assert (requested, file.exists()) == ([], reason == "halted")


def test_a_heartbeat_that_fails_is_printed_once_and_when_it_works_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heartbeat._beats.clear()  # pyright: ignore[reportPrivateUsage]
    note_heartbeat("mine", "BTC/USDT", "trading")
    with serve_and_count() as (url, _):
        pass
    sender = heartbeat._HeartbeatSender(  # pyright: ignore[reportPrivateUsage]
        MonitoringSettings(heartbeat_url=url)
    )
    for _ in range(3):
        sender._send()  # pyright: ignore[reportPrivateUsage]
    assert capsys.readouterr().out.count("no heartbeat: heartbeat_url: ") == 1


@contextmanager
def serve_invalid_http() -> Generator[str]:
    """Return the address of a server whose responses have no status line."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"please log in\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/ping"
        finally:
            server.shutdown()
            thread.join()


def test_heartbeats_go_on_after_a_response_that_is_not_http(
    capsys: pytest.CaptureFixture[str],
) -> None:
    heartbeat._beats.clear()  # pyright: ignore[reportPrivateUsage]
    note_heartbeat("mine", "BTC/USDT", "trading")
    with serve_invalid_http() as url:
        sender = heartbeat._HeartbeatSender(  # pyright: ignore[reportPrivateUsage]
            MonitoringSettings(heartbeat_url=url)
        )
        for _ in range(2):
            assert sender._send()  # pyright: ignore[reportPrivateUsage]
    assert capsys.readouterr().out.count("no heartbeat: heartbeat_url: ") == 1


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"alert_command": "no-such-notifier"}, ConfigurationError, "'no-such-notifier' is not"),
        ({"alert_command": "echo 'open"}, ConfigurationError, "cannot be read"),
        ({"heartbeat_url": "ftp://example.org"}, UsageError, "it looks like https://"),
        (
            {"heartbeat_file": Path("/dev/null/no/beat")},
            ConfigurationError,
            "folder cannot be made",
        ),
        ({"log_json": Path("/dev/null/no/log")}, ConfigurationError, "folder cannot be made"),
    ],
)
def test_invalid_monitoring_settings_print_one_line_before_trading_begins(
    settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    wrong = MonitoringSettings(**settings)
    with pytest.raises(error, match=text) as found, start_monitoring(wrong):
        pass
    assert "\n" not in str(found.value)
