"""Kill a process with SIGKILL in the middle of a chosen write to the disk.

`run_kills` starts this file as a program. It forks a child for each kill, which works on its
own copy of a database through a file layer that counts writes. At the chosen one it writes half of
what SQLite requested and kills its process.
"""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import apsw

from onetape.core.candles import Candle, SeriesKey
from onetape.core.trading import Decision, Fill, Order, Session
from onetape.store.backup import restore
from onetape.store.candles import insert_closed_rows
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.ledger import insert_decision
from onetape.store.orders import store_order_change
from onetape.store.sessions import start_session
from order_changes import fill_of
from store_guards import switch_off_guards

STRIKES = int(os.environ.get("ONETAPE_STRIKES", "16"))
#: Without its guard one in two breaks a file.
STRIKES_WITHOUT_GUARD = 8
BATCH = 50
#: Market time, epoch milliseconds: long after the close of all these candles.
SETTLED = 2**44
#: Name of the backup that `restore_older` takes, next to the database that is copied.
KEPT = "kept.db"
KEY = SeriesKey("binance", "BTC/USDT", "1h")
ACCOUNT = "paper/killed"
Say = Callable[[str], None]


@dataclass(frozen=True)
class KilledCopy:
    """One child: the path of its file, and the lines that it printed before it was killed."""

    path: Path
    killed: bool
    lines: list[str]


def run_kills(
    base: Path,
    folder: Path,
    scenario: str,
    write_numbers: Sequence[int],
    *,
    guards_off: Sequence[str] = (),
) -> list[KilledCopy]:
    """Work on copies of a closed database, and kill the process at a write of each.

    Args:
        base: The database.
        folder: Folder of the copies.
        scenario: Name of a function below.
        write_numbers: The write that kills, counted from 1; 0 for none.
        guards_off: Names in `store_guards.GUARDS`.
    """
    done = subprocess.run(
        [
            sys.executable,
            __file__,
            str(base),
            str(folder),
            scenario,
            json.dumps([write_numbers, guards_off]),
        ],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    return [
        KilledCopy(Path(each["path"]), each["killed"], each["lines"])
        for each in json.loads(done.stdout)
    ]


def kill_everywhere(
    base: Path, scenario: str, *, seed: int, guard_off: str = ""
) -> list[KilledCopy]:
    """Kill a process at each write of a scenario, or at a seeded part of them.

    With ONETAPE_STRIKES=100000 it kills at every write.
    """
    guards_off = [guard_off] if guard_off else []
    (whole,) = run_kills(base, base.parent, scenario, [0], guards_off=guards_off)
    writes = range(1, int(whole.lines[-1].removeprefix("writes ")) + 1)
    chosen = random.Random(seed)  # noqa: S311 - a seeded choice, no secret
    wanted = min(STRIKES, STRIKES_WITHOUT_GUARD) if guard_off else STRIKES
    write_numbers = sorted(chosen.sample(writes, min(wanted, len(writes))))
    copies = run_kills(base, base.parent, scenario, write_numbers, guards_off=guards_off)
    assert all(copy.killed for copy in copies)
    return copies


class CountingFile(apsw.VFSFile):
    """A file that kills its process in the middle of a write."""

    left = 0

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        """Open the file."""
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write, or write half and kill the process."""
        CountingFile.left -= 1
        if CountingFile.left == 0:
            self._write(bytes(data)[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType] - Buffer is 3.12's


class CountingLayer(apsw.VFS):
    """SQLite's file layer with counting files."""

    def __init__(self) -> None:
        """Take the place of the usual one."""
        super().__init__("counting", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> CountingFile:  # noqa: N802
        """Open a file."""
        return CountingFile(name, flags)


def migrate(path: Path, _: Say) -> None:
    """Bring a file up to the newest schema."""
    open_store(path, create=False).close()


def restore_older(path: Path, _: Say) -> None:
    """Restore the backup that is two folders up."""
    restore(path.parent.parent / KEPT, path)


def trade(path: Path, say: Say) -> None:
    """Book trades and store candles; name each that was acknowledged."""
    with open_store(path, create=False) as store:
        token = acquire_lease(store, ACCOUNT, "kill", now_ms=0, seconds=1)
        fence = Fence(ACCOUNT, token)
        start_session(store, make_session(), fence)
        for number in range(6):
            order = make_order(number)
            insert_decision(store, make_decision(number), order, fence)
            store_order_change(store, fill_of(make_fill(number), at_ms=number), fence)
            say(f"trade {number}")
            rows = [
                Candle((number * BATCH + i) * 3_600, 1.0, 1.0, 1.0, 1.0, 0.0) for i in range(BATCH)
            ]
            insert_closed_rows(store, KEY, rows, source="rest", seen_ms=SETTLED)
            say(f"candles {number}")


def make_session() -> Session:
    """Return the session that the orders belong to."""
    return Session(
        "s1", "trader", "paper", ACCOUNT, "binance", "BTC/USDT", "1h", "rsi", {}, "digest", 1
    )


def make_decision(number: int) -> Decision:
    """Return the decision that led to an order."""
    return Decision(f"d{number}", "s1", number * 3_600, 1, {}, {}, "BUY", number)


def make_order(number: int) -> Order:
    """Return an order to buy one coin."""
    return Order(
        client_order_id=f"o{number}",
        session="s1",
        mode="paper",
        account=ACCOUNT,
        exchange="binance",
        symbol="BTC/USDT",
        timeframe="1h",
        side="buy",
        type="market",
        status="intent",
        decision=f"d{number}",
        signal_timestamp=number * 3_600,
        decided_ms=number,
        bid=None,
        ask=None,
        intended_price=Decimal(100),
        reason="kill",
        strategy="rsi",
        parameters={},
        code_digest="digest",
    )


def make_fill(number: int) -> Fill:
    """Return the trade that fills it."""
    return Fill(
        exchange="binance",
        symbol="BTC/USDT",
        exchange_trade_id=f"t{number}",
        client_order_id=f"o{number}",
        session="s1",
        mode="paper",
        account=ACCOUNT,
        side="buy",
        price=Decimal(100),
        amount=Decimal(1),
        fee=Decimal(0),
        fee_currency="USDT",
        executed_ms=number,
    )


SCENARIOS = {scenario.__name__: scenario for scenario in (migrate, restore_older, trade)}


def _run_child(
    scenario: str, path: Path, write_number: int, guards_off: Sequence[str], pipe: int
) -> None:
    def say(text: str) -> None:
        os.write(pipe, f"{text}\n".encode())

    layer = CountingLayer()
    CountingFile.left = write_number
    switch_off_guards(*guards_off)
    SCENARIOS[scenario](path, say)
    say(f"writes {write_number - CountingFile.left}")
    del layer


def _kill_at_write(
    base: Path, folder: Path, scenario: str, write_number: int, guards_off: Sequence[str]
) -> KilledCopy:
    path = Path(tempfile.mkdtemp(prefix=f"{scenario}-{write_number}-", dir=folder)) / base.name
    shutil.copy(base, path)
    listen, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(listen)
            _run_child(scenario, path, write_number, guards_off, pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(pipe)
    with os.fdopen(listen) as output:
        printed = output.read().splitlines()
    _, status = os.waitpid(child, 0)
    return KilledCopy(path, os.WIFSIGNALED(status), printed)


def main() -> None:
    """Kill as stated on the command line, and print the result."""
    logging.disable()
    base, folder, scenario = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    write_numbers, guards_off = json.loads(sys.argv[4])
    done = [
        _kill_at_write(base, folder, scenario, write_number, guards_off)
        for write_number in write_numbers
    ]
    sys.stdout.write(json.dumps([asdict(each) for each in done], default=str))


if __name__ == "__main__":
    main()
