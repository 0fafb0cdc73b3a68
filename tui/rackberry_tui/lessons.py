"""What a verdict or an event teaches: one short lesson for each rule of the detector and kind of event.

Theory of operation: the screen's `w` shows the rule behind a node's state, the numbers, and the lesson
of that rule. The lessons say what the rack does, what it costs, and what can be tried.
"""

LESSONS: dict[str, str] = {
    "silence": (
        "The master cannot know whether a silent node is dead, slow or cut off. So it suspects early and "
        "cheaply: three missed beats, and no new work goes there. Nothing is taken away yet, because most "
        "silences end by themselves. Try it on the demo: rackberry drill freeze NODE."
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
        "grace. Try it on the demo: rackberry drill kill NODE."
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
    "node-unwell": (
        "It answers, so it is not dead; but it is hot, short of something, or late, and says so itself. It is "
        "trusted with less work until that is over. Try it on the demo: rackberry drill slow NODE."
    ),
    "quarantine-over": "It may be given work again. Should it fail again, it is left out for twice as long.",
    "blackout": (
        "When the master itself was away, or very many fell silent at once, the silence says more about "
        "the listener than about the nodes. Then no death is declared until heartbeats could come again."
    ),
    "broker-lost": (
        "The broker is the one thing that everybody talks through. Without it nobody is dead and nobody "
        "is alive: nothing is known. Nodes keep sampling and say so with their LEDs. Try it on the demo: "
        "rackberry drill broker-restart."
    ),
    "clone": (
        "Two processes beat under one name, each throwing the other off the broker: most likely one SD "
        "card was copied to another Pi. Rename one of them."
    ),
    "node-joined": (
        "A node joins by being heard: it says what it is, and the inventory says where it stands. Nobody has "
        "to be told of it, and nobody has to be restarted."
    ),
    "node-degraded": (
        "Its heart beats, but a small job sent through it now and then does not come back in time. A process "
        "that lives and does not work is the hardest failure to see, so it is tried, and not only asked."
    ),
    "master-lagged": (
        "The master itself was late: while it was not listening, nobody could be heard. What it missed it "
        "does not hold against the nodes."
    ),
    "blackout-over": (
        "Heartbeats could come again for long enough: who is silent now is judged again as always."
    ),
    "job-failed": (
        "It failed as often as it may, or on several nodes in a row, and is given up. Its page tells each "
        "try; r tries it again, with fresh patience."
    ),
    "node-draining": (
        "A node is emptied in good order: no new work, time for what runs there, then back into the queue. "
        "Nothing is lost either way, but what may end where it is need not be done twice."
    ),
    "node-drained": (
        "Nothing of the rack's work is on it any more: it can be switched off and nobody will notice."
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


JOB_LESSONS: dict[str, str] = {
    "waiting": (
        "A job is given away as late as possible: only when a slot is free, and never to a slow node if a "
        "fast one will be free sooner. What is decided late is decided with the newest knowledge."
    ),
    "running": (
        "The node holds this job under a lease, and each heartbeat that names it renews the lease. When the "
        "node falls silent the lease ends, and the job moves under a higher token."
    ),
    "done": (
        "One result was recorded, under the token that held. The node kept it on its own disk until the "
        "master had said that it is safe, so neither of them could lose it."
    ),
    "failed": (
        "A job is tried again on another node, with longer and longer pauses, because most failures are the "
        "node's or the moment's. When it fails everywhere, the fault is its own, and it is given up."
    ),
    "held": (
        "Whether this job may be run twice only a person can tell, so the rack stops and asks: r tries it "
        "again, x gives it up."
    ),
    "cancelled": (
        "A cancelled job gets a new token, and what still runs under the old one is stopped. Should its node "
        "be cut off just now, its late result will be refused."
    ),
}
_LOSS_LESSONS = {
    "rerun": "It may be run again, so the loss of its node costs only time.",
    "exclusive": (
        "It must never run twice at once, so after the loss of its node it waits until that node has "
        "certainly stopped it by itself: 10 s without the master, by the node's own clock."
    ),
    "hold": "It must not be run again unasked, so after the loss of its node it is held for you.",
}


def job_lesson(state: str, on_loss: str) -> str:
    """What the state of a job teaches, and what would become of it with its node.

    >>> job_lesson("cancelled", "rerun").startswith("A cancelled job")
    True
    """
    said = JOB_LESSONS.get(state, "")
    if state in {"waiting", "running", "held"}:
        said = f"{said} {_LOSS_LESSONS.get(on_loss, '')}"
    return said.strip()
