"""The process of one backtest of `--watch`, which the system kills if the watch ends."""

import sys
from typing import NoReturn

from onetape.backtest.parallel import end_with_parent


def run() -> NoReturn:
    """Run the backtest; the first argument is the process id of the watch."""
    end_with_parent(int(sys.argv.pop(1)))
    from backtester.entry import run as run_backtester

    run_backtester()


if __name__ == "__main__":
    run()
