"""The start of a program: a signal during its imports ends it with the documented code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: A program whose import never ends, started as console scripts are.
SCRIPTS = {
    "backtester": "from backtester.start import run; run()",
    "trader": "from trader.start import run; run()",
}
SLOW = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "msgspec":
            print("importing", flush=True)
            time.sleep(600)
sys.meta_path.insert(0, Slow())
"""
#: A program that makes 100 calls at each of 300 depths; it prints the most page faults at a depth.
LOOPING = """
import resource
most = 0
# A frame that is larger than that of `run`: at the end of each block one fits, and the other not.
exec(f"def nothing({', '.join(f'a{n}=0' for n in range(60))}): pass")
def run(depth=0):
    global most
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        nothing()
    most = max(most, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    if depth < 300:
        run(depth + 1)
    if not depth:
        print(most)
"""


@pytest.mark.parametrize(
    ("program", "number", "code", "words"),
    [
        ("backtester", signal.SIGINT, -signal.SIGINT, ""),
        ("backtester", signal.SIGTERM, -signal.SIGTERM, ""),
        ("trader", signal.SIGINT, 0, "Ctrl-C: stopped before trading began\n"),
        ("trader", signal.SIGTERM, 0, "SIGTERM: stopped before trading began\n"),
    ],
)
def test_a_signal_during_the_imports_ends_the_program_without_a_traceback(
    tmp_path: Path, program: str, number: signal.Signals, code: int, words: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW + SCRIPTS[program]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "importing\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=180)
    assert (child.returncode, out, err) == (code, words, "")


def test_a_background_job_still_ignores_ctrl_c(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    briefly = SLOW.replace("time.sleep(600)", "sys.stdin.readline()")
    script = ignoring + briefly + "sys.argv[1:] = ['--help']\n" + SCRIPTS["backtester"]
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "importing\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate("go on\n", timeout=180)
    assert (child.returncode, err) == (0, "")
    assert "--help" in out


def test_a_program_imports_few_modules_before_it_sets_its_signal_handlers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, trader.start; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert not {"typer", "numpy", "asyncio", "msgspec", "yaml"} & set(done.stdout.split())


def test_no_hot_loop_of_a_program_crosses_the_end_of_a_block_of_interpreter_frames(
    tmp_path: Path,
) -> None:
    (tmp_path / "looping.py").write_text(LOOPING)
    done = subprocess.run(
        [sys.executable, "-c", "from onetape.cli.start import start; start('looping')"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert int(done.stdout) < 50
