"""The `rackberry` command.

Theory of operation: the group knows its commands by name and one line of help each, and imports the
module of a command only when it is called, so that `--help` and completion stay fast. Options that say
where the broker is may stand before or after the command. What is a document goes to stdout, what is a
message goes to stderr, and how it ended is in the exit code:

    0 ok · 1 error · 2 usage · 3 degraded (--check) · 4 not authorised · 5 broker unreachable ·
    6 wait timed out · 130 interrupted
"""

import sys


def main() -> None:
    """Entry point of the console script."""
    try:
        import click  # noqa: F401  # only to say it in words when it is missing
    except ModuleNotFoundError:
        print(
            "rackberry: the command line is not installed.  In a checkout of it, type:  pip install '.[tui]'",
            file=sys.stderr,
        )
        sys.exit(1)
    from rackberry.cli.group import run

    sys.exit(run(sys.argv[1:]))
