"""The exchange behind the market: one account, its orders, their matching, and a ledger.

Nothing here does I/O or reads a clock: each call has the time as an argument. Prices are whole
ticks, quantities whole steps, balances Decimals of eight digits; no float touches money.
"""
