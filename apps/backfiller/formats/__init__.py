"""Files of candles: what their names state, how they are read, and how they are written."""
