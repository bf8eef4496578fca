"""The console script of the trader: until it trades, a signal ends it cleanly at once."""

import signal
import sys
from typing import NoReturn

from onetape.cli.start import start


def run() -> NoReturn:
    """Run the program."""
    start("trader.main", stop=stop_before_trading)


def stop_before_trading(number: int, frame: object) -> None:
    """Print which signal came, and end."""
    del frame
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sys.stdout.write(f"{name}: stopped before trading began\n")
    sys.exit(0)
