"""The only code that runs as root on a lab server."""
