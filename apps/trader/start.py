"""The console script of the trader: handles signals before anything slow is imported."""

import signal
import sys

#: Signals that are commands of a person; `command_signals` stores them.
COMMAND_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
#: Command signals that wait for the trader's event loop, oldest first, each once.
held_signals: list[signal.Signals] = []


def run() -> None:
    """Run the program, and end the process with its exit code."""
    # First of all: without a handler these signals would end the process.
    hold_command_signals()
    from onetape.cli.start import start

    start("trader.main", stop=stop_before_trading)


def hold_command_signals() -> None:
    """From now on, let command signals wait in `held_signals` for the trader's event loop."""
    for number in COMMAND_SIGNALS:
        signal.signal(number, hold_signal)


def hold_signal(number: int, frame: object) -> None:
    """Handle a signal: add it to `held_signals`."""
    del frame
    if number not in held_signals:
        held_signals.append(signal.Signals(number))


def stop_before_trading(number: int, frame: object) -> None:
    """Handle a signal: print its name, and end the process with exit code 0."""
    del frame
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    sys.stdout.write(f"{name}: stopped before trading began\n")
    sys.exit(0)
