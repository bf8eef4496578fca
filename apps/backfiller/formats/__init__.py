"""Files of candles: what their names say, how columns and times read, and how we write them."""
