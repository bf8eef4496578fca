"""Takes commands from an error of a session until everything is built again.

Pauses and halts hold at once, and each command is acknowledged. The session carries out commands
that close a position, at its first fresh price: their rows stay open until then.
"""

import asyncio

from onetape.cli.output import print_line
from onetape.core.errors import ConfigurationError, StoreError
from trader.account_commands import AccountCommands
from trader.command_lines import show_waiting
from trader.control_state import pause_text
from trader.control_watch import LOOK_SECONDS
from trader.session_context import SessionContext
from trader.states import DATABASE, TraderStates


async def show_commands_while_idle(
    context: SessionContext, commands: AccountCommands, states: TraderStates
) -> None:
    """Take and acknowledge the commands to one symbol until cancelled.

    Args:
        context: Context of the traded symbol.
        commands: Commands of the account.
        states: Forbid entries while there is a pause.
    """
    account, symbol = context.session.account, context.key.symbol
    while True:
        try:
            # A write would wait for a locked file, and block the watch of the levels.
            takes_files = not states.has_problem(DATABASE)
            for line in commands.read(newer_than_seconds=LOOK_SECONDS / 2, takes_files=takes_files):
                print_line(line)
        except (StoreError, ConfigurationError):
            # The file is the reason why the session is built again, and its problem is shown
            # already.
            await asyncio.sleep(LOOK_SECONDS)
            continue
        show_waiting(account, commands.take_new(symbol), symbol, "everything is built again")
        forbids = commands.state.halt or commands.state.pause
        states.pause = None if forbids is None else pause_text(forbids)
        await asyncio.sleep(LOOK_SECONDS)
