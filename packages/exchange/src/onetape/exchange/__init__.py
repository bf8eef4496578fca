"""CCXT REST: the one place where CCXT is called and its exceptions translated."""
