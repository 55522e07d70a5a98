"""The `laser` command: runs, sweeps, channel studies; tasks with built-in data; speed."""
