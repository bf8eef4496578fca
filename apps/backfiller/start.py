"""The console script of the backfiller.

With --every, a signal before the first run ends the program without a traceback.
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
    """Print the name of the received signal, and end."""
    del frame
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sys.stdout.write(f"{name}: stopped before the first run\n")
    sys.exit(0)
