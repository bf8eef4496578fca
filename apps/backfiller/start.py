"""The console script of the backfiller: one that runs on a schedule ends cleanly from the start."""

import signal
import sys
from typing import NoReturn

from onetape.cli.start import start


def run() -> NoReturn:
    """Run the program."""
    stays = any(argument.split("=")[0] == "--every" for argument in sys.argv[1:])
    start("backfiller.main", stop=stop_before_the_first_run if stays else None)


def stop_before_the_first_run(number: int, frame: object) -> None:
    """Print which signal came, and end."""
    del frame
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sys.stdout.write(f"{name}: stopped before the first run\n")
    sys.exit(0)
