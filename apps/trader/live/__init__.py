"""Real orders of one symbol: sending, look-ups, exits, stops, and checks of the account.

`live_executor.py` is the entry point: it has the orders and calls the other modules four times a
second. `start_plan.py`, `opening.py`, `start_checks.py` and `confirmation.py` belong to the start.
"""
