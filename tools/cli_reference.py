"""Writer of docs/cli.md: the help text of each program and each of its commands.

    uv run python tools/cli_reference.py            # writes the file
    uv run python tools/cli_reference.py --check    # ends with 6 where the file differs

The order of the sections is that of `--help`.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from typer.main import get_command

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = Path("docs", "cli.md")
#: Module that defines `app`, by program.
PROGRAMS: Final = {
    "backfiller": "backfiller.main",
    "backtester": "backtester.main",
    "trader": "trader.main",
    "simulator": "onetape.simulator.main",
}
#: Columns of the help text in the page.
WIDTH: Final = 100
_BEGINNING: Final = """\
# Command line reference

<!-- Written by tools/cli_reference.py; a test compares it. -->

The output of `--help` for each program and each command. [rules.md](rules.md) has the formulas of
the account settings, [operations.md](operations.md#6-exit-codes-and-signals) the exit codes.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it with `--check`; return the exit code."""
    is_check = arguments == ["--check"]
    if arguments and not is_check:
        print(__doc__)
        return 2
    file, text = ROOT / PAGE, make_page()
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return 0
    if is_check:
        print(f"{PAGE} differs; run: uv run python tools/cli_reference.py")
        return 6
    file.write_text(text, encoding="utf-8")
    print(f"{PAGE} written")
    return 0


def make_page() -> str:
    """Return the page."""
    parts = [_BEGINNING]
    for program, module in PROGRAMS.items():
        command = get_command(importlib.import_module(module).app)
        parts.extend(_iterate_sections(command, program, depth=2))
    return "\n".join(parts)


def _iterate_sections(command: Any, name: str, *, depth: int) -> Iterator[str]:
    """Yield a section for a command and for each command below it.

    Args:
        command: Click's command or group.
        name: Command as it is typed, with the program's name.
        depth: Level of the heading.
    """
    context = typer.Context(
        command,
        info_name=name,
        max_content_width=WIDTH,
        terminal_width=WIDTH,
        help_option_names=["--help", "-h"],
    )
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"{'#' * depth} {name}\n\n```text\n{help_text}\n```\n"
    if not hasattr(command, "list_commands"):
        return
    for one in command.list_commands(context):
        below = command.get_command(context, one)
        yield from _iterate_sections(below, f"{name} {one}", depth=depth + 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
