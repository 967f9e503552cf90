"""The service: API, store, queue, engines and the loops that move the world."""
