"""Handlers that touch the world through the agent, which owns the pins: read-sensor, set-output."""

from typing import Any

from rackberry.messages import HandlerInfo, Parameter
from rackberry_agent.handlers import Context, Handler


def read_sensor(args: dict[str, Any], context: Context) -> Any:
    """The newest reading of one of the node's sensors."""
    return context.ask("read-sensor", sensor=args["sensor"])


def set_output(args: dict[str, Any], context: Context) -> Any:
    """Set one of the outputs that the node's configuration names. The agent checks the token."""
    return context.ask("set-output", output=args["output"], value=args["value"])


READ_SENSOR = Handler(
    HandlerInfo(
        name="read-sensor",
        about="the newest reading of a sensor",
        parameters={"sensor": Parameter(kind="text", required=True, minimum=1, maximum=63)},
    ),
    read_sensor,
)
SET_OUTPUT = Handler(
    HandlerInfo(
        name="set-output",
        about="set an output, 0 to 1",
        parameters={
            "output": Parameter(kind="text", required=True, minimum=1, maximum=63),
            "value": Parameter(kind="number", required=True, minimum=0, maximum=1),
        },
        on_loss="exclusive",
        actuating=True,
    ),
    set_output,
)
