"""A real Kubernetes with every job engine, on one machine: no hypervisor, no registry, no systemd."""
