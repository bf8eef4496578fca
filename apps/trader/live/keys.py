"""Reads the API key of a live trader: from the environment, from files or from a prompt."""

import getpass
import os
import sys
from typing import Final

from onetape.cli.credentials import KEY, SECRET, read_credentials
from onetape.cli.output import print_line
from onetape.core.errors import ConfigurationError
from onetape.core.symbols import SIMULATOR_ID
from onetape.exchange.trading_records import Credentials
from trader.live.start_plan import StartPlan

#: Exchanges that give a password (passphrase) together with a key.
PASSWORD_EXCHANGES: Final = ("okx",)


def load_start_credentials(plan: StartPlan) -> Credentials | None:
    """Return the API key for a start; None: the start is on paper.

    With a position or an order open, a start without a key goes on with an empty key, and is
    halted: `trader status` and an alert report that, which a program that ends could not do.

    Raises:
        ConfigurationError: no key is set, and nothing is open.
    """
    if plan.settings.mode != "live":
        return None
    try:
        return load_credentials(plan.settings.exchange)
    except ConfigurationError as error:
        if not plan.held:
            raise
        print_line(f"no API key: {error}", level="ERROR")
        return Credentials("", "")


def load_credentials(exchange: str) -> Credentials:
    """Return the API key of the account, from the environment, from files or from a prompt.

    Without any key, the simulator uses a public one.

    Raises:
        ConfigurationError: no key is set.
    """
    names = (KEY, f"{KEY}_FILE", SECRET, f"{SECRET}_FILE")
    if exchange == SIMULATOR_ID and not any(name in os.environ for name in names):
        return Credentials("simulator", "simulator")
    prompt = getpass.getpass if sys.stdin.isatty() else None
    needs_password = exchange in PASSWORD_EXCHANGES
    found = read_credentials(os.environ, needs_password=needs_password, prompt=prompt)
    for note in found.notes:
        print_line(note)
    return Credentials(found.key, found.secret, found.password)
