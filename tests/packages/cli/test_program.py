"""Every failure of a program is one line on stderr and a documented exit code."""

import subprocess
import sys
from typing import Annotated

import pytest
import typer

from onetape.cli.program import TRACEBACK_VARIABLE, run_app, run_typer_app
from onetape.core import errors

RAISED: dict[str, BaseException] = {
    "usage": errors.UsageError("a flag"),
    "configuration": errors.ConfigurationError("a file"),
    "data": errors.DataError("no data"),
    "gap": errors.CandleGapError("a gap"),
    "store": errors.StoreError("a file"),
    "unreachable": errors.ExchangeUnreachable("nobody"),
    "refused": errors.ExchangeRefused("no"),
    "check": errors.CheckFailed("differs"),
    "safety": errors.SafetyRefusal("stop"),
    "root": errors.OnetapeError("own\n  fault"),
    "hostile": errors.UsageError("\x1b[2J\x9b1m is not a file"),
    "unexpected": ZeroDivisionError("division\nby zero"),
    "interrupted": KeyboardInterrupt(),
}

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def act(
    what: Annotated[str, typer.Argument()] = "",
    count: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Run the command."""
    del count
    if what == "exit":
        raise typer.Exit(9)
    if what == "abort":
        raise typer.Abort
    if what:
        raise RAISED[what]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ([], 0, ""),
        (["--help"], 0, ""),
        (["-h"], 0, ""),
        (["usage"], 2, "app: a flag"),
        (["configuration"], 3, "app: a file"),
        (["data"], 4, "app: no data"),
        (["gap"], 4, "app: a gap"),
        (["store"], 4, "app: a file"),
        (["unreachable"], 5, "app: nobody"),
        (["refused"], 5, "app: no"),
        (["check"], 6, "app: differs"),
        (["safety"], 7, "app: stop"),
        (["hostile"], 2, "app: \\u001b[2J\\u009b1m is not a file"),
        (["root"], 1, "app: own fault"),
        (["interrupted"], 130, "app: interrupted"),
        (["abort"], 130, "app: interrupted"),
        (["exit"], 9, ""),
        (["--cuont", "3"], 2, "app: No such option: --cuont"),
        (["--count", "x"], 2, "app: Invalid value for '--count'"),
        (["--count", "0"], 2, "app: Invalid value for '--count'"),
        (["a", "b"], 2, "app: Got unexpected extra argument(s) (b); see app --help"),
    ],
)
def test_each_way_to_end_has_its_exit_code_and_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, line: str
) -> None:
    assert run_typer_app(app, "app", arguments) == code
    printed = capsys.readouterr().err
    assert printed.startswith(line)
    assert printed.count("\n") == (1 if line else 0)


def test_an_unexpected_error_prints_one_line_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRACEBACK_VARIABLE, raising=False)
    assert run_typer_app(app, "app", ["unexpected"]) == 1
    assert capsys.readouterr().err == (
        "app: unexpected ZeroDivisionError: division by zero "
        "(set ONETAPE_TRACEBACK=1 to see where, and please report it)\n"
    )


def test_the_traceback_is_printed_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(ZeroDivisionError):
        run_typer_app(app, "app", ["unexpected"])


def test_run_app_ends_the_process_with_the_exit_code() -> None:
    with pytest.raises(SystemExit) as ended:
        run_app(app, "app", ["data"])
    assert ended.value.code == 4


#: Prints many lines, or its help.
PRINTING = """
import sys, typer
from onetape.cli.output import print_line
from onetape.cli.program import run_app
app = typer.Typer()
@app.command()
def act() -> None:
    for _ in range(100_000): print_line("x" * 100)
run_app(app, "app")
"""


@pytest.mark.parametrize("arguments", ["", "--help"])
@pytest.mark.parametrize(
    ("output", "line"),
    [
        (">&-", "app: standard output is closed; give it a file, or /dev/null"),
        (
            ">/dev/full",
            "app: standard output cannot be written: No space left on device; "
            "choose another output",
        ),
    ],
)
def test_output_that_cannot_be_written_prints_one_line_and_exits_with_3(
    output: str, line: str, arguments: str
) -> None:
    command = f'exec "$0" -c "$1" {arguments} {output}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, PRINTING],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=180,
    )
    assert (done.returncode, done.stderr) == (3, f"{line}\n")


@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_an_error_whose_text_cannot_be_made_has_its_exit_code(errors: str) -> None:
    command = f'exec "$0" -c "$1" --nonsense {errors}'
    done = subprocess.run(["sh", "-c", command, sys.executable, PRINTING], check=False, timeout=180)
    assert done.returncode == 2


def test_a_closed_pipe_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 0
