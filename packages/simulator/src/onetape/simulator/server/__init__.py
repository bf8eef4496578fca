"""The HTTP server: public REST endpoints, limits, and the control endpoints."""
