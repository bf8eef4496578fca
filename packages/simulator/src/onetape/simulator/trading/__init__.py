"""The account of the simulated exchange: its orders, their matching, balances, fees and a ledger.

`exchange.py` is the core, which `account_api.py` offers with Binance's names, over REST
(`signed_rest.py`) and the WebSocket API. The core does no I/O and reads no clock: each call has the
time as an argument. Prices are whole ticks (price steps), quantities are whole steps (amount
steps), balances are Decimals of eight digits; money is never a float.
"""
