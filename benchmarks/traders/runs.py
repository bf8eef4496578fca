"""The interface of a trading program for the order-fault benchmark."""

import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from onetape.simulator.embedded import EmbeddedSimulator


class Driver(Protocol):
    """Runs one program live on a simulator: always long, one position, a stop on the exchange."""

    name: str

    def version(self) -> str:
        """Return the program's version."""
        ...

    def prepare(self, folder: Path, url: str) -> None:
        """Write the program's files for a simulator at this address."""
        ...

    def start(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Start the program, or start it again on its existing files."""
        ...

    def known_coins(self, folder: Path) -> Decimal:
        """Return the number of coins that the program holds by its own records."""
        ...


def fetch_order_rows(simulator: EmbeddedSimulator) -> list[dict[str, Any]]:
    """Return the exchange's ledger of orders."""
    return simulator.run_on_account(lambda account: list(account.exchange.ledger.orders))
