"""Check of docker-compose.yml: services are started as plain processes, offline, and must work.

Each app gets an environment made by docker/install.py, as in its image. The services run one after
the other in one folder laid out like the image's, with `--exchange simulator` in their own
command, so that no test needs a network; the simulator itself on loopback and any free port. Each
trader runs twice: as it is, and with a mode and two secrets, which makes its orders real requests.
"""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
OFFLINE = "simulator"
#: Arguments added to the simulator's own command; the last ones decide where it listens.
LOOPBACK = ("--host", "127.0.0.1", "--port", "0")
RUN_TIMEOUT_SECONDS = 600
#: The trader's first decision is due within 10 s; the rest is for a busy machine.
WORK_TIMEOUT_SECONDS = 300
STOP_TIMEOUT_SECONDS = 120
GREETING = re.compile(r"^simulator: .* at (http://127\.0\.0\.1:\d+);")
#: Variables that a person sets for real orders: the mode. The secrets are files.
LIVE = {"ONETAPE_MODE": "live"}
#: Key and secret of the simulator.
SIMULATOR_SECRET = "simulator"  # noqa: S105 - no secret
#: A variable of the compose file with its default.
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
#: Line that a lasting service prints after its work was done for the first time.
SIGNS = {"trader": re.compile(r": (BUY|SELL|HOLD)\b"), "backfiller": re.compile(r"^next run: ")}


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the compose file."""

    name: str
    app: str
    """App whose image the service runs in."""
    program: str
    """Program that the service starts: the app, or another one of the environment."""
    command: tuple[str, ...]
    environment: dict[str, str]
    """Environment, with variables that the compose file leaves open: `${ONETAPE_MODE:-}`."""

    @property
    def offline(self) -> list[str]:
        """Command of the service, changed so that it neither needs nor uses a network."""
        if self.program != self.app:
            return [*self.command, *LOOPBACK]
        words = list(self.command)
        words[words.index("--exchange") + 1] = OFFLINE
        return words

    def variables(self, values: dict[str, str], secrets: Path) -> dict[str, str]:
        """Return the environment of the service with variables filled in.

        Args:
            values: Values of the variables that a person sets.
            secrets: Folder of the files that are at /run/secrets in a container.
        """
        found = {
            name: VARIABLE.sub(lambda match: values.get(match[1], match[2]), text)
            for name, text in self.environment.items()
        }
        return {name: text.replace("/run/secrets", str(secrets)) for name, text in found.items()}


def read_services(file: Path) -> list[Service]:
    """Return the services of a compose file: backfiller, backtester, trader, then the simulator.

    Those of a cluster need certificates, an extra and the names of other services; tests start
    their commands (tests/apps/backtester/test_cluster.py).
    """
    document: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    services: list[Service] = []
    for name, entry in document["services"].items():
        if "cluster" in entry.get("profiles", ()):
            continue
        app = entry["build"]["args"]["APP"]
        program = entry.get("entrypoint", [app])[0]
        environment = {name: str(text) for name, text in entry.get("environment", {}).items()}
        services.append(Service(name, app, program, tuple(entry["command"]), environment))
    return sorted(services, key=lambda service: (service.program != service.app, service.app))


def install(app: str, target: Path) -> None:
    """Make the environment of an app with the Dockerfile's script and a Python that has pip."""
    python = Path(sys.base_prefix) / "bin" / "python3"
    command = [str(python), str(ROOT / "docker/install.py"), "--app", app, "--venv", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)


def make_folder(folder: Path) -> None:
    """Lay a working folder out as the Dockerfile does."""
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "data").mkdir(mode=0o700)
    (folder / "user").mkdir()
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    for name in ("api_key", "api_secret"):
        (secrets / name).write_text(SIMULATOR_SECRET, encoding="utf-8")
        (secrets / name).chmod(0o400)


def start(
    service: Service, environments: Path, folder: Path, values: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start a service's command from its app's environment, with values of its variables."""
    programs = environments / service.app / "bin"
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "TZ") if key in os.environ}
    return subprocess.Popen(
        [str(programs / service.program), *service.offline],
        cwd=folder,
        env={
            **kept,
            **service.variables(values or {}, folder / "secrets"),
            "PATH": f"{programs}:{os.defpath}",
            "PYTHONUNBUFFERED": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def check_run(service: Service, environments: Path, folder: Path) -> None:
    """Run a service to its end.

    Raises:
        SystemExit: the service failed, took too long, or stored nothing.
    """
    process = start(service, environments, folder)
    try:
        output, _ = process.communicate(timeout=RUN_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"{service.name}: not done after {RUN_TIMEOUT_SECONDS} s") from None
    print(output, end="")
    if process.returncode:
        raise SystemExit(f"{service.name}: exit code {process.returncode}")
    print(f"{service.name}: exit code 0, {count_stored_rows(folder):,} candles stored")


def check_until_stopped(
    service: Service, environments: Path, folder: Path, values: dict[str, str] | None = None
) -> list[str]:
    """Run a service until it has worked once, then stop it as a container engine would.

    Args:
        service: Service to run.
        environments: Environments of the apps.
        folder: Working folder of the service.
        values: Values of the variables of the compose file.

    Returns:
        Output of the service.

    Raises:
        SystemExit: the service did nothing in time, or its stop was not clean.
    """
    process = start(service, environments, folder, values)
    lines: list[str] = []
    signs: list[str] = []
    settled = threading.Event()
    arguments = (process, SIGNS[service.app], lines, signs, settled)
    reader = threading.Thread(target=watch, args=arguments)
    reader.start()
    settled.wait(WORK_TIMEOUT_SECONDS)
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"{service.name}: SIGTERM did not stop it") from None
    finally:
        reader.join()
    if not signs:
        raise SystemExit(f"{service.name}: no work done within {WORK_TIMEOUT_SECONDS} s")
    if code:
        raise SystemExit(f"{service.name}: exit code {code} on SIGTERM")
    rows = count_stored_rows(folder)
    print(f"{service.name}: worked, and exit code 0 on SIGTERM, {rows:,} candles stored")
    if service.program == "backfiller":
        accept_gaps(environments, folder)
    return lines


def check_trader(service: Service, environments: Path, folder: Path) -> None:
    """Run a trader on paper, then with a mode and two secrets.

    Raises:
        SystemExit: it did nothing in time, its stop was not clean, or its orders are not those
            of the mode.
    """
    for mode, values in (("paper", {}), ("live", LIVE)):
        lines = check_until_stopped(service, environments, folder, values)
        if not any(line.startswith(f"{mode} trading simulator ") for line in lines):
            raise SystemExit(f"{service.name}: it does not trade {mode}")


def accept_gaps(environments: Path, folder: Path) -> None:
    """Accept the outages of the invented market, which need a second round as proof.

    Raises:
        SystemExit: the outages could not be accepted.
    """
    backfiller = str(environments / "backfiller" / "bin" / "backfiller")
    flags = ("--exchange", "simulator", "--accept", "all", "--because", "outage")
    done = subprocess.run([backfiller, "gaps", *flags], cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(f"backfiller gaps --accept: exit code {done.returncode}")


def check_answers(service: Service, environments: Path, folder: Path) -> None:
    """Start the simulator, send it a request, then stop it as a container engine would.

    Raises:
        SystemExit: the simulator printed no address, did not respond, or its stop was not clean.
    """
    process = start(service, environments, folder)
    try:
        line = process.stdout.readline() if process.stdout else ""
        print(line, end="")
        greeting = GREETING.match(line)
        if greeting is None:
            raise SystemExit(f"{service.name}: it did not print where it listens")
        url = f"{greeting[1]}/api/v3/ping"
        with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - our own loopback
            if response.read() != b"{}":
                raise SystemExit(f"{service.name}: it does not respond as Binance does")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_TIMEOUT_SECONDS)
    finally:
        process.kill()
    if process.returncode:
        raise SystemExit(f"{service.name}: exit code {process.returncode} on SIGTERM")
    print(f"{service.name}: responded, and exit code 0 on SIGTERM")


def watch(
    process: "subprocess.Popen[str]",
    sign: re.Pattern[str],
    lines: list[str],
    signs: list[str],
    settled: threading.Event,
) -> None:
    """Print each line; set `settled` at the first sign of work, or at the end."""
    for line in process.stdout or ():
        print(line, end="")
        lines.append(line)
        if sign.search(line):
            signs.append(line)
            settled.set()
    settled.set()


def count_stored_rows(folder: Path) -> int:
    """Return the number of candles in the simulator's database.

    Raises:
        SystemExit: the database holds no candle.
    """
    connection = sqlite3.connect(folder / "data/simulator.db")
    (rows,) = connection.execute("SELECT count(*) FROM ohlcv_data").fetchone()
    connection.close()
    if not rows:
        raise SystemExit("the database holds no candle")
    return int(rows)


def main() -> None:
    """Install the apps, then start each service."""
    services = read_services(ROOT / "docker-compose.yml")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        environments, folder = Path(scratch, "environments"), Path(scratch, "app")
        make_folder(folder)
        apps = sorted({service.app for service in services})
        with ThreadPoolExecutor() as pool:
            list(pool.map(install, apps, [environments / app for app in apps]))
        print(f"{', '.join(apps)} installed in {time.monotonic() - began:.0f} s")
        for service in services:
            words = " ".join([service.program, *service.offline])
            print(f"--- {service.name}: {words}")
            checks = {
                "trader": check_trader,
                "backfiller": check_until_stopped,
                "simulator": check_answers,
            }
            checks.get(service.program, check_run)(service, environments, folder)


if __name__ == "__main__":
    main()
