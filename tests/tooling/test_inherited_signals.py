"""Tests pass under nohup and as a background job, where programs begin with signals ignored."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
#: Sends itself each signal and prints which of them it survived.
PARENT = """
import os, signal, subprocess, sys
from inherited_signals import give_children_default_signals

give_children_default_signals()
numbers = [int(number) for number in sys.argv[1:]]
for number in numbers:
    os.kill(os.getpid(), number)
child = "import time; print('begun', flush=True); time.sleep(600)"
for number in numbers:
    command = [sys.executable, "-c", child]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    process.send_signal(number)
    print(process.wait(120))
"""


def ignore_signals(numbers: Sequence[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def test_children_obey_signals_that_their_parent_was_started_to_ignore(repository: Path):
    done = subprocess.run(
        [sys.executable, "-c", PARENT, *(str(int(number)) for number in NUMBERS)],
        env=os.environ | {"PYTHONPATH": str(repository / "tests/support")},
        preexec_fn=lambda: ignore_signals(NUMBERS),
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    assert done.stdout.split() == [str(-number) for number in NUMBERS]


@pytest.mark.parametrize("number", NUMBERS)
def test_no_test_begins_with_a_signal_ignored(number: signal.Signals):
    assert signal.getsignal(number) != signal.SIG_IGN
