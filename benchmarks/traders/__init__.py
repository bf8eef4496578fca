"""Trading programs that the order-fault benchmark runs."""
