"""An offline exchange on loopback that implements Binance's protocol, and the demo."""
