"""`backtester search`: many combinations of parameters, ranked, beside a part that was held out."""
