"""Acknowledges commands of persons while a session is built again after an error.

Pauses and halts hold at once. Commands that close a position are carried out by the session, at its
first fresh price: their rows stay open until then.
"""

import asyncio

from onetape.cli.output import print_line
from onetape.core.errors import ConfigurationError, StoreError
from trader.account_commands import AccountCommands
from trader.command_lines import show_waiting
from trader.control_state import format_pause
from trader.control_watch import CHECK_SECONDS
from trader.session_context import SessionContext
from trader.states import DATABASE, TraderStates


async def show_commands_while_idle(
    context: SessionContext, commands: AccountCommands, states: TraderStates
) -> None:
    """Read and print the commands to one symbol until cancelled.

    Args:
        context: Context of the traded symbol.
        commands: Commands of the account.
        states: States of the trader, which forbid entries during a pause.
    """
    account, symbol = context.session.account, context.key.symbol
    while True:
        try:
            # A write would wait for a locked file, and block the watch of the levels.
            takes_files = not states.has_problem(DATABASE)
            for line in commands.read(max_age_seconds=CHECK_SECONDS / 2, takes_files=takes_files):
                print_line(line)
        except (StoreError, ConfigurationError):
            # The file is the reason why the session is built again, and its problem is shown
            # already.
            await asyncio.sleep(CHECK_SECONDS)
            continue
        show_waiting(account, commands.take_new(symbol), symbol, "everything is built again")
        forbids = commands.state.halt or commands.state.pause
        states.pause = None if forbids is None else format_pause(forbids)
        await asyncio.sleep(CHECK_SECONDS)
