"""The console script of the backtester."""

from typing import NoReturn

from onetape.cli.start import start


def run() -> NoReturn:
    """Run the program."""
    start("backtester.entry")
