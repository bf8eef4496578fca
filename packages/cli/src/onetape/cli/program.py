"""Run a program: each error ends it with one line on stderr and a documented exit code.

The exit codes are those of `core.errors`. If the reader of the output is gone (`| head`), the
program ends without an error.
"""

import atexit
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, NoReturn

from onetape.cli.stdout import flush_all, get_stdout, is_own_process, mark_own_process
from onetape.core.errors import ConfigurationError, OnetapeError, UsageError
from onetape.core.printable import escape_unprintable

if TYPE_CHECKING:
    import typer

#: Set to any text to see the traceback of an unexpected error.
TRACEBACK_VARIABLE = "ONETAPE_TRACEBACK"
#: Flags that print the help text.
HELP_NAMES = ["--help", "-h"]
#: Errors of a write to stdout: no space, a quota, a device that broke, no such descriptor.
_NO_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
#: Exit code after Ctrl-C, as in shells: 128 + SIGINT.
EXIT_INTERRUPTED = 130


def run_app(
    app: "typer.Typer",
    name: str,
    arguments: Sequence[str] | None = None,
    *,
    at_once: bool = False,
) -> NoReturn:
    """Run a Typer app and end the process.

    Args:
        app: The program.
        name: Name of the program as typed; each error line begins with it.
        arguments: Command line without the program's name; None takes the process's own.
        at_once: End the process without the interpreter's clean-up, which takes a tenth of a short
            run. Functions of `atexit` are called; running threads are not waited for.
    """
    with mark_own_process():
        code = run_typer_app(app, name, arguments)
    if at_once:
        _exit_at_once(code)
    sys.exit(code)


def run_function(function: Callable[[], object], name: str) -> NoReturn:
    """Run a program that does not need Typer, and end the process at once.

    Errors, exit codes and the end are those of `run_app`.

    Args:
        function: The program; it returns its exit code, or None for 0.
        name: Name of the program as typed; each error line begins with it.
    """
    with mark_own_process():
        code = _run_for_exit_code(function, name)
    _exit_at_once(code)
    sys.exit(code)


def _exit_at_once(code: int) -> None:
    """End the process; if a flush fails, end it by `sys.exit`, so that Python reports the error."""
    with contextlib.suppress(OSError):
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage] - no other way to call them
        flush_all()
        os._exit(code)


@contextlib.contextmanager
def disable_garbage_collection() -> Generator[None]:
    """Turn cyclic garbage collection off in the block, which saves a short run 4 % of its time.

    It stays off afterwards if the process runs nothing but this program.
    """
    gc.disable()
    try:
        yield
    finally:
        if not is_own_process():
            gc.enable()


def refuse_flags_before(context: "typer.Context", name: str) -> None:
    """Refuse a flag that is typed before the command, where it would be ignored.

    Args:
        context: Typer's context of the program, with a command.
        name: Name of the program as typed.

    Raises:
        UsageError: a flag is typed before the command.
    """
    given = [parameter for parameter, value in context.params.items() if value]
    if given:
        flag = f"--{given[0].strip('_').replace('_', '-')}"
        command = context.invoked_subcommand
        raise UsageError(f"put {flag} behind the command: {name} {command} {flag} ...")


def run_typer_app(app: "typer.Typer", name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a Typer app and return its exit code; errors become one line on stderr."""
    return _run_for_exit_code(lambda: _run_app(app, name, arguments), name)


def _run_for_exit_code(function: Callable[[], object], name: str) -> int:
    """Return the exit code of a function: its return value or its error's code; None is 0."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - `>&-` makes it None
        text = "standard output is closed; give it a file, or /dev/null"
        return _print_failure(name, text, ConfigurationError.exit_code)
    try:
        result = function()
    except KeyboardInterrupt:
        return _print_failure(name, "interrupted", EXIT_INTERRUPTED)
    except OnetapeError as error:
        return _print_failure(name, str(error), error.exit_code)
    except SystemExit as ended:
        # Typer ends with 1 if the reader of the output is gone (`| head`), which is no error.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _discard_buffered_output()
        return 0
    except BrokenPipeError:
        _discard_buffered_output()
        return 0
    except OSError as error:
        if error.errno not in _NO_OUTPUT or error.filename is not None:
            return _report_unexpected(name, error)
        _discard_buffered_output()
        text = f"standard output cannot be written: {error.strerror}; choose another output"
        return _print_failure(name, text, ConfigurationError.exit_code)
    except Exception as error:
        return _report_unexpected(name, error)
    return result if isinstance(result, int) else 0


def _run_app(app: "typer.Typer", name: str, arguments: Sequence[str] | None) -> object:
    """Return the result of a Typer app, or the exit code of a command line that Typer refuses."""
    from typer.exceptions import Abort, TyperException

    try:
        result = app(
            args=arguments, prog_name=name, standalone_mode=False, help_option_names=HELP_NAMES
        )
    except TyperException as error:
        text = error.format_message().rstrip(".")
        return _print_failure(name, f"{text}; see {name} --help", UsageError.exit_code)
    except Abort:
        return _print_failure(name, "interrupted", EXIT_INTERRUPTED)
    if result == EXIT_INTERRUPTED:  # which is how Typer reports Ctrl-C
        return _print_failure(name, "interrupted", EXIT_INTERRUPTED)
    return result


def _report_unexpected(name: str, error: Exception) -> int:
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    text = f"unexpected {type(error).__name__}: {error}"
    hint = f"set {TRACEBACK_VARIABLE}=1 to see where, and please report it"
    return _print_failure(name, f"{text} ({hint})", OnetapeError.exit_code)


def _discard_buffered_output() -> None:
    """Redirect stdout to /dev/null, so that the flush at the end of the process does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), get_stdout().fileno())


def _print_failure(name: str, text: str, exit_code: int) -> int:
    line = escape_unprintable(" ".join(text.split()))
    # If stderr is closed or full, only the exit code can report the error.
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"{name}: {line}\n")
    return exit_code
