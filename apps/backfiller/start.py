"""The console script of the backfiller: it starts `main` and handles signals until then.

Importing the program takes a moment. With --every, a signal during it ends the program with exit
code 0, as a signal between two runs does.
"""

import signal
import sys
from typing import NoReturn

from onetape.cli.start import start


def run() -> NoReturn:
    """Run the program."""
    is_scheduled = any(argument.split("=")[0] == "--every" for argument in sys.argv[1:])
    start("backfiller.main", stop=stop_before_the_first_run if is_scheduled else None)


def stop_before_the_first_run(number: int, frame: object) -> None:
    """Handle a signal: print its name, and exit with code 0."""
    del frame
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sys.stdout.write(f"{name}: stopped before the first run\n")
    sys.exit(0)
