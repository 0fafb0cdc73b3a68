"""What a verdict teaches: one short lesson for each rule of the detector.

Theory of operation: the screen's `w` shows the rule behind a node's state, the numbers, and the lesson
of that rule. The lessons say what the rack does, what it costs, and what can be tried.
"""

LESSONS: dict[str, str] = {
    "silence": (
        "The master cannot know whether a silent node is dead, slow or cut off. So it suspects early and "
        "cheaply: three missed beats, and no new work goes there. Nothing is taken away yet, because most "
        "silences end by themselves. Try it: kill -STOP an agent, and kill -CONT it within a second."
    ),
    "expiry": (
        "The silence has lasted longer than chance allows for this node: its limit is learned from its own "
        "heartbeats, never under 2.5 s and never over 10 s. A lower limit would find the dead sooner and "
        "bury more of the living."
    ),
    "will": (
        "At its start the node left a last will with the broker, which publishes it when the connection "
        "breaks without a goodbye. That is fast evidence, but not proof: a pulled cable fires it too. So "
        "the node is suspect at once, and dead only if the same process does not connect again within the "
        "grace. Try it: kill -9 an agent."
    ),
    "steady": "It was dead and came back, and kept its rhythm through the whole probation. Now it is trusted.",
    "beat": (
        "Its heartbeat comes. If it was away before: it beats with the identity it had before, so the process never ended: it was frozen or cut "
        "off. After a death it stays on probation for a while, because what failed once is likely to again."
    ),
    "rebirth": (
        "Another process beats under this name: the agent was started again. If the boot id of the "
        "operating system is new as well, the machine lost power or was rebooted."
    ),
    "goodbye": (
        "The agent said goodbye before it stopped. A clean stop is no failure: nobody is alarmed, and its "
        "place is kept."
    ),
    "": "Nothing has happened to this node since the master began to watch it.",
}


def lesson(rule: object) -> str:
    """The lesson of a rule by its name; of nothing special when the name is unknown."""
    return LESSONS.get(str(rule or ""), LESSONS[""])
