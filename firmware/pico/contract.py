"""The topics that a node writes and reads, and the version of the contract.

Written by firmware/generate.py; changes belong in rackberry.topics.
"""

AGENT_VERSION = "0.1.0"
ENVELOPE_VERSION = 1
ROOT_DEFAULT = "rackberry/v1"

# route: (topic below the root, retained, QoS)
ROUTES = {
    "node-state": ("node/{node}/state", True, 1),
    "node-info": ("node/{node}/info", True, 1),
    "node-health": ("node/{node}/health", True, 0),
    "node-sensor": ("node/{node}/sensor/{sensor}", True, 0),
    "node-event": ("node/{node}/event/{sensor}", False, 1),
    "node-led": ("node/{node}/led/{led}", True, 1),
    "node-attempt": ("node/{node}/attempt", False, 0),
    "node-reply": ("node/{node}/reply", False, 1),
    "cmd-announce": ("cmd/{node}/announce", False, 1),
    "cmd-identify": ("cmd/{node}/identify", False, 1),
    "cmd-shutdown": ("cmd/{node}/shutdown", False, 1),
    "master-verdict": ("master/verdict/{node}", True, 1),
}
