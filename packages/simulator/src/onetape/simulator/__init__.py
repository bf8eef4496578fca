"""An offline exchange on loopback that speaks Binance's protocol, and the demo."""
