"""A handler that leaves a trace of its life in a file, so that somebody else can judge who ran when.

Installed as an add-on, through the entry point that docs/work.md promises to anybody.
"""

import os
import time
from typing import Any

from rackberry.messages import HandlerInfo, Parameter
from rackberry_agent.handlers import Context, Handler

STEP_S = 0.02


def mark(args: dict[str, Any], context: Context) -> str:
    """Write a line at the start, every 20 ms, and at the end: name, token, what, monotonic time."""
    file = os.open(os.environ["RACKBERRY_CHAOS_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(what: str) -> None:
        line = f"{args['name']} {context.token} {what} {time.monotonic():.6f}\n"
        os.write(file, line.encode())

    end_s = time.monotonic() + args["seconds"]
    say("start")
    while time.monotonic() < end_s:
        time.sleep(STEP_S)
        say("alive")
    say("end")
    os.close(file)
    return f"{args['name']} is done"


MARK = Handler(
    HandlerInfo(
        name="mark",
        about="leave a trace",
        parameters={
            "name": Parameter(kind="text", required=True),
            "seconds": Parameter(kind="number", required=True, minimum=0),
        },
    ),
    mark,
)
