"""Runs the trader of a drill; the trader ends with the drill in every case."""

import sys

from onetape.backtest.parallel import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv.pop(1)))
    from trader.main import run

    run()
