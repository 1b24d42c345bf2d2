"""`heliograph up`: the whole architecture on one machine, as real processes with real OTLP between them.

    applications, log files, /proc -> daemon -> gateway -> backend -> store (or a real Elasticsearch)

Each role is `heliograph --config=<preset>`: what is printed at the start can be run by hand. Ctrl-C stops the roles
front to back, each draining into the next, and leaves the data directory behind.
"""

from heliograph.app.up.command import add_arguments, main

__all__ = ["add_arguments", "main"]
