"""The trader: runs strategies on live candles, on paper or with real orders."""
