"""WebSockets: market streams and the WebSocket API, with their events and commands."""
