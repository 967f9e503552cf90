"""What JupyterHub is told about Footplate."""
