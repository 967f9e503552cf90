"""The Kubernetes engine with a real service and a real control plane, whose nodes are KWOK's."""
