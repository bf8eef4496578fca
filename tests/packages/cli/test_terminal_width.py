"""The width of the terminal is that of the program's own stdout."""

import os
import pty
import subprocess
import sys
import termios

#: Claims stdout, as commands do that run a strategy, and prints the width on stderr or stdout.
PROGRAM = """
import sys
from onetape.cli.output import get_terminal_width
from onetape.cli.stdout import claim_stdout, get_stdout
before = get_terminal_width()
claim_stdout()
print(before, get_terminal_width(), file={where})
"""


def open_terminal(columns: int) -> tuple[int, int]:
    """Return both ends of a terminal with this width, columns."""
    first, second = pty.openpty()
    termios.tcsetwinsize(second, (24, columns))
    return first, second


def test_the_width_is_that_of_stdout_while_strategies_print_to_stderr() -> None:
    first, second = open_terminal(77)
    command = [sys.executable, "-c", PROGRAM.format(where="get_stdout()")]
    subprocess.run(command, stdout=second, stderr=subprocess.DEVNULL, check=True)
    assert os.read(first, 100).split() == [b"77", b"77"]
    os.close(first)
    os.close(second)


def test_a_pipe_has_no_width_even_if_stderr_is_a_terminal() -> None:
    first, second = open_terminal(77)
    command = [sys.executable, "-c", PROGRAM.format(where="get_stdout()")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=second, check=True)
    assert done.stdout.split() == [b"None", b"None"]
    os.close(first)
    os.close(second)
