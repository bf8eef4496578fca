"""`simulator play`: serve recorded replies until Ctrl-C."""

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path

from onetape.cli.output import note, print_line
from onetape.core.message_text import format_count
from onetape.simulator.recorded.player import Player
from onetape.simulator.recorded.recordings import parse_route, read_recordings


def play_recordings(
    files: list[Path],
    routes: Iterable[str],
    *,
    in_order: bool,
    host: str,
    port: int,
    allow_remote: bool,
) -> None:
    """Serve the recordings of some files until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: a file or the address cannot be used.
        UsageError: a route cannot be used.
        SafetyRefusal: others could reach the address.
    """
    recordings = read_recordings(files, dict(parse_route(route) for route in routes))
    player = Player(recordings, in_order=in_order, host=host, port=port, allow_remote=allow_remote)
    replies = format_count(len(recordings.replies), "reply").replace("replys", "replies")
    asyncio.run(_serve(player, f"{replies}, {format_count(len(recordings.messages), 'message')}"))


async def _serve(player: Player, content: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with player:
        print_line(f"simulator play: {content}, at {player.url}. Ctrl-C stops it.")
        await stop.wait()
    for requested in player.unrecorded:
        note(f"not recorded: {requested}")
