"""The main job on one machine: from a cell to its first line, a thousand jobs, logs, lists, memory, start."""
