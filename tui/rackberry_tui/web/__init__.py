"""The screen in a browser: a server, a process of its own for each viewer, and a page that asks nobody else."""
