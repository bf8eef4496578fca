"""Printing lines neither delays a program nor ends it, whatever happens to its output."""

import logging
import os
import sys
from pathlib import Path

import pytest

from onetape.cli.events import Event, handle_events
from onetape.cli.line_printer import MAX_WAITING, print_in_thread
from onetape.cli.output import note, print_line

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_a_full_disk_raises_no_error_and_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    with FULL.open("w") as full, handle_events(events.append):
        monkeypatch.setattr(sys, "stdout", full)
        with print_in_thread():
            for number in range(3):
                print_line(f"line {number}")
    assert [one.event for one in events].count("output") == 1


def test_a_closed_pipe_raises_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with print_in_thread():
            print_line("nobody reads this")


def test_a_stalled_reader_delays_nothing_and_gets_the_lines_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    lines = [f"{number} {'x' * 1_000}" for number in range(500)]
    with os.fdopen(writing, "w") as pipe, os.fdopen(reading) as reader:
        monkeypatch.setattr(sys, "stdout", pipe)
        with print_in_thread():
            # More than a pipe holds: without the thread this would never end.
            for line in lines:
                print_line(line)
            assert [reader.readline().rstrip() for _ in lines] == lines


def test_lines_that_do_not_fit_into_the_queue_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe, os.fdopen(reading) as reader:
        monkeypatch.setattr(sys, "stdout", pipe)
        with print_in_thread():
            # The pipe takes about 650 of them.
            printed = MAX_WAITING + 2_000
            for _ in range(printed):
                print_line("y" * 100)
            found = [reader.readline() for _ in range(MAX_WAITING // 2)]
            print_line("end")
            found += iter(reader.readline, "end\n")
    # The thread takes lines meanwhile, so lines may be left out at more than one place.
    notices = [line for line in found if not line.startswith("y")]
    assert notices
    left_out = sum(int(line.split()[0].replace(",", "")) for line in notices)
    assert left_out + len(found) - len(notices) == printed


def test_notes_and_the_log_of_python_go_to_stderr_in_the_order_of_printing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with print_in_thread():
        note("first")
        logging.getLogger("onetape.store").warning("%s", "second")
        print_line("on stdout")
    printed = capfd.readouterr()
    assert printed.err.splitlines() == ["first", "second"]
    assert printed.out == "on stdout\n"
