"""What a strategy's own code prints while it runs: stdout belongs to the program's result."""

import contextlib
import sys
from collections.abc import Generator


@contextlib.contextmanager
def printing_to_stderr() -> Generator[None]:
    """Send what is printed inside to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
