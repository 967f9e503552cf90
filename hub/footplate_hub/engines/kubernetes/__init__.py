"""Runs attempts as pods of a Kubernetes cluster; see ``engine``, whose client is an extra."""
