"""``footplate up``: hub, proxy and service on one machine, started, watched and stopped together."""
