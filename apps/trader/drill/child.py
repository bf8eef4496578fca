"""The program that a drill starts as its trader: it ends with the drill, also if that is killed."""

import sys

from onetape.backtest.parallel import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv.pop(1)))
    from trader.main import run

    run()
