"""What a verdict or an event teaches: one short lesson for each rule of the detector and kind of event.

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
        "Its heartbeat comes. If it was away before, it now beats with the identity it had then: the "
        "process never ended, it was frozen or cut off. After a death it stays on probation for a while, "
        "because what failed once is likely to fail again."
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


EVENT_LESSONS: dict[str, str] = {
    "node-suspect": LESSONS["silence"],
    "node-dead": (
        "Dead is a decision, not an observation: from outside, a dead node and one that is cut off look "
        "the same. What makes the decision safe is that everybody acts on it alike, and that the node "
        "can come back and say otherwise."
    ),
    "nodes-dead": (
        "Silences that begin together have one cause more often than many: a supply, a switch, the "
        "broker. One diagnosis is told instead of an alarm for each. The boot ids say which it was when "
        "they return: new ones mean that power was lost, old ones that only the network was."
    ),
    "node-back": LESSONS["beat"],
    "node-alive": LESSONS["steady"],
    "node-left": LESSONS["goodbye"],
    "node-quarantined": (
        "A node that dies and returns over and over costs more than one that stays away: each time work "
        "goes there and is lost. So it is left out for a while, and each time for longer."
    ),
    "quarantine-over": "It may be given work again. Should it fail again, it is left out for twice as long.",
    "blackout": (
        "When the master itself was away, or very many fell silent at once, the silence says more about "
        "the listener than about the nodes. Then no death is declared until heartbeats could come again."
    ),
    "broker-lost": (
        "The broker is the one thing that everybody talks through. Without it nobody is dead and nobody "
        "is alive: nothing is known. Nodes keep sampling and say so with their LEDs."
    ),
    "clone": (
        "Two processes beat under one name, each throwing the other off the broker: most likely one SD "
        "card was copied to another Pi. Rename one of them."
    ),
    "led-mismatch": (
        "A node reads back what its pins really show. When that is not what the master expects of it, "
        "one of the two is mistaken: a wire, a pin number, or a verdict that has not arrived."
    ),
    "master-started": (
        "A master that starts knows its rack from its own memory, not from the broker. It listens for a "
        "while before it judges, because it cannot have heard anybody while it was away."
    ),
}


def event_lesson(kind: str) -> str:
    """The lesson of a kind of event; empty when there is none to draw.

    >>> event_lesson("node-forgotten")
    ''
    """
    return EVENT_LESSONS.get(kind, "")
