"""The node: what it says and shows, as one state machine.

Theory of operation: pure, and of the same shape as the node agent: `handle(event, now_ms, wall_ms)` takes
a fact and returns effects; `next_deadline_ms()` says when it wants a tick. `now_ms` is monotonic,
`wall_ms` is for people. Events and effects are tuples, which cost a microcontroller least:

    events    ("up", session)  ("down", reason, kind)  ("message", topic, payload, retained)
              ("pin", input, value)  ("read", sensor, value or None, error or None)
              ("vitals", {...}, {...})  ("lit", light, {colour: thousandths})  ("dropped", count)
              ("tick", lag_ms)  ("stop", reason)
    effects   ("publish", route, ids, data, qos or None)  ("set", light, colour, thousandths)
              ("read back", light)  ("log", words)  ("exit", reason)
"""

import contract
from envelope import Refusal, is_id, is_number, open_message, topic_of
from health import Health
from inputs import ALARMS, SETTLE_MS, Input
from led_language import LIGHT_FOR, LIGHT_FOR_LIVENESS
from lights import StatusLight

LIVENESSES = ("joining", "alive", "suspect", "dead", "probation", "left")
IDENTIFY_S = 60
ANNOUNCE_MS_MIN = 1000  # an announcement is a burst; nobody may ask for more than one a second
LOG_MS_MIN = 10000
CHECK_LIGHTS_MS = 5000


class Node:
    """One node of the rack.

    Args:
        settings: of `settings.check`.
        board: the module `board`, or anything with MODEL, INPUTS, LIGHTS and SENSORS.
        boot_id: new at each start, at most 120 letters.
        model: what the hardware says it is.
        chance: gives a random whole number from 0 to 65535.
        memory_bytes: of the heap, for `info`.
    """

    def __init__(self, settings, board, boot_id, model, chance, memory_bytes=None):
        self._settings = settings
        self._board = board
        self._boot_id = boot_id
        self._model = model
        self._chance = chance
        self._memory_bytes = memory_bytes
        root, me = settings["root"], settings["node"]
        self._verbs = {
            topic_of(root, "cmd-announce", me): self._on_announce,
            topic_of(root, "cmd-identify", me): self._on_identify,
            topic_of(root, "cmd-shutdown", me): self._on_shutdown,
        }
        self._verdict_topic = topic_of(root, "master-verdict", me)
        self._interval_ms = round(settings["interval_s"] * 1000)
        self.clock_synced = False
        self._inputs = {
            one["name"]: Input(one["name"], one["kind"], one.get("settle_ms", SETTLE_MS))
            for one in board.INPUTS
        }
        self._lights = [StatusLight(one["name"], one["palette"]) for one in board.LIGHTS]
        self._readings = {}  # sensor -> Reading
        self._complaints = {}  # light -> error or None
        self._health = Health()
        self._vitals = {}
        self._figures = {}
        self._condition = "ok"
        self._reasons = []
        self._up = False
        self._liveness = ""
        self._scheduling = "schedulable"
        self._identify = None  # (command id, deadline)
        self._beat_ms = None
        self._lag_ms = 0
        self._losses = self._dropped = self._refused = 0
        self._announced_ms = self._announce_due_ms = self._logged_ms = None
        self._check_ms = 0
        self._stopped = False

    # --- what the shell asks ----------------------------------------------------------------------

    def will(self):
        """The last will: what the broker says for us when our connection breaks."""
        return {"status": "offline", "reason": "the connection broke"}

    def next_deadline_ms(self):
        """When a tick is wanted, in monotonic ms."""
        soonest = self._check_ms
        for due_ms in self._deadlines():
            if due_ms is not None and due_ms < soonest:
                soonest = due_ms
        return soonest

    def _deadlines(self):
        yield self._beat_ms if self._up else None
        yield self._announce_due_ms if self._up else None
        yield self._identify[1] if self._identify else None
        for light in self._lights:
            yield light.next_ms

    # --- events -----------------------------------------------------------------------------------

    def handle(self, event, now_ms, wall_ms):  # noqa: PLR0912  # one branch for each kind of fact
        """Apply a fact and say what is to be done."""
        effects = []
        if self._stopped and event[0] != "lit":
            return effects
        kind = event[0]
        if kind == "tick":
            self._on_tick(event[1], now_ms, effects)
        elif kind == "pin":
            if not self._on_pin(event[1], event[2], now_ms, wall_ms, effects):
                return effects  # a look at a pin that brings nothing new costs nothing more
        elif kind == "read":
            self._on_read(event[1], event[2], event[3], now_ms, wall_ms, effects)
        elif kind == "vitals":
            self._vitals, self._figures = event[1], event[2]
            self._judge(now_ms, effects)
        elif kind == "message":
            self._on_message(event, now_ms, wall_ms, effects)
        elif kind == "lit":
            self._on_lit(event[1], event[2], effects)
        elif kind == "dropped":
            self._dropped = event[1]
        elif kind == "up":
            self._up = True
            self._liveness = ""
            self._announce(now_ms, effects)
        elif kind == "down":
            self._losses += 1 if self._up else 0
            self._up = False
            self._log(event[1], now_ms, effects)
        elif kind == "unheard":
            self._log(event[1], now_ms, effects)
        elif kind == "stop":
            self._stop(event[1], now_ms, wall_ms, effects)
            return effects
        if not self._stopped:
            self._paint(now_ms, wall_ms, effects)
        return effects

    def _on_tick(self, lag_ms, now_ms, effects):
        self._lag_ms = max(self._lag_ms, lag_ms)
        if self._identify and now_ms >= self._identify[1]:
            self._end_identify("expired", "nobody pressed the button in time", effects)
        if self._up and self._announce_due_ms is not None and now_ms >= self._announce_due_ms:
            self._announce(now_ms, effects)
        if self._up and now_ms >= self._beat_ms:
            self._beat(now_ms, effects)
        if now_ms >= self._check_ms:
            self._check_ms = now_ms + CHECK_LIGHTS_MS
            effects.extend(("read back", light.name) for light in self._lights)

    def _on_pin(self, name, value, now_ms, wall_ms, effects):
        one = self._inputs[name]
        news = one.look(value, now_ms, wall_ms)
        if news is None:
            return False
        change, held_ms = news
        if change is not None:
            edge = {"change": change, "value": value, "held_s": held_ms / 1000}
            effects.append(("publish", "node-event", (name,), edge, None))
        # A contact's reading is a state that must not be lost: QoS 1, as the contract says.
        effects.append(("publish", "node-sensor", (name,), one.reading(), 1))
        if change == "pressed" and self._identify:
            self._end_identify("done", "the button was pressed", effects)
        if one.kind in ALARMS:
            self._judge(now_ms, effects)
        return True

    def _on_read(self, name, value, error, now_ms, wall_ms, effects):
        if value is not None and not is_number(value, -1e9, 1e9):
            value, error = None, "it gave %s, which is no number that can be true" % value
        before = self._readings.get(name)
        if error is None:
            reading = {"value": value, "quality": "ok", "error": None, "read_ms": wall_ms}
        else:
            # The last good value stays, with the time at which it was good.
            reading = {
                "value": before["value"] if before else None,
                "quality": "error",
                "error": error,
                "read_ms": before["read_ms"] if before else wall_ms,
            }
        self._readings[name] = reading
        effects.append(("publish", "node-sensor", (name,), reading, None))
        self._judge(now_ms, effects)

    def _judge(self, now_ms, effects):
        errors = {
            name: reading["error"] for name, reading in self._readings.items() if reading["error"]
        }
        before = self._condition
        alarms = [one.alarm() for _, one in sorted(self._inputs.items()) if one.alarm()]
        self._condition, self._reasons = self._health.judge(self._figures, errors, alarms)
        if self._condition != before and self._up:
            self._beat_ms = None  # bad news does not wait for the next beat, and good news neither
            self._beat(now_ms, effects)

    # --- messages ---------------------------------------------------------------------------------

    def _on_message(self, event, now_ms, wall_ms, effects):
        _, topic, payload, retained = event
        try:
            if topic == self._verdict_topic:
                self._on_verdict(payload, retained, now_ms, effects)
                return
            verb = self._verbs.get(topic)
            if verb is None:
                raise Refusal("unknown-topic")
            if retained:
                raise Refusal("retained-command")
            data = open_message(payload)
            if not is_id(data.get("id", "announce" if verb == self._on_announce else None)):
                raise Refusal("wrong-shape")
            verb(data, now_ms, wall_ms, effects)
        except Refusal as refusal:
            self._refused += 1
            shown = topic if topic is None or len(topic) <= 80 else topic[:77] + "..."
            self._log("refused a message: %s (%s)" % (refusal.cause, shown), now_ms, effects)

    def _on_announce(self, _data, now_ms, _wall_ms, effects):
        if self._announced_ms is None or now_ms - self._announced_ms >= ANNOUNCE_MS_MIN:
            self._announce(now_ms, effects)
        elif self._announce_due_ms is None:
            self._announce_due_ms = self._announced_ms + ANNOUNCE_MS_MIN

    def _on_identify(self, data, now_ms, _wall_ms, effects):
        for_s = data.get("for_s", IDENTIFY_S)
        if not is_number(for_s, 0, 3600):
            raise Refusal("wrong-shape")
        if not self._lights:
            self._reply(data["id"], "refused", "this node has no status light", effects)
            return
        if self._identify and self._identify[0] != data["id"]:
            self._end_identify("expired", "another request took its place", effects)
        if not for_s:
            self._identify = None
            self._reply(data["id"], "done", "the lights are as they were", effects)
            return
        self._identify = (data["id"], now_ms + round(for_s * 1000))
        self._reply(data["id"], "accepted", "blinking until the button is pressed", effects)

    def _on_shutdown(self, data, now_ms, wall_ms, effects):
        self._reply(data["id"], "accepted", "saying goodbye", effects)
        self._stop("asked to", now_ms, wall_ms, effects)

    def _on_verdict(self, payload, retained, now_ms, effects):
        if payload is not None and not len(payload):  # the master forgot us
            self._liveness, self._scheduling = "", "schedulable"
            return
        data = open_message(payload)
        liveness, scheduling = data.get("liveness"), data.get("scheduling")
        if liveness not in LIVENESSES or ("ok", scheduling) not in LIGHT_FOR:
            raise Refusal("wrong-shape")
        self._scheduling = scheduling
        # A retained verdict may be older than our birth: it says nothing of whether we live.
        died = not retained and liveness == "dead" and self._liveness != "dead"
        self._liveness = "" if retained else liveness
        if died:
            self._on_announce(None, now_ms, 0, effects)

    # --- what it says -----------------------------------------------------------------------------

    def _announce(self, now_ms, effects):
        self._announced_ms = now_ms
        self._announce_due_ms = None
        effects.append(("publish", "node-state", (), {"status": "online", "reason": ""}, None))
        effects.append(("publish", "node-info", (), self._info(), None))
        self._beat_ms = None
        self._beat(now_ms, effects)
        for name, one in self._inputs.items():
            if one.value is not None:
                effects.append(("publish", "node-sensor", (name,), one.reading(), 1))
        for name, reading in self._readings.items():
            effects.append(("publish", "node-sensor", (name,), reading, None))
        for light in self._lights:
            self._complaints.pop(light.name, None)  # so that its report is sent again
            effects.append(("read back", light.name))

    def _beat(self, now_ms, effects):
        health = {
            "interval_s": self._settings["interval_s"],
            "condition": self._condition,
            "reasons": self._reasons,
            "loop_lag_ms": self._lag_ms,
            "broker_losses": self._losses,
            "dropped": self._dropped,
            "refused": self._refused,
            "vitals": self._vitals,
        }
        self._lag_ms = 0
        effects.append(("publish", "node-health", (), health, None))
        # +-10 % of jitter, so that nodes which start together do not beat together. After a long stop
        # there is one beat and then the usual rhythm, never a burst.
        step_ms = self._interval_ms * (90 * 65536 + 20 * self._chance()) // (100 * 65536)
        late = self._beat_ms is None or now_ms - self._beat_ms > self._interval_ms
        self._beat_ms = (now_ms if late else self._beat_ms) + step_ms

    def _info(self):
        sensors = [
            {"name": one["name"], "kind": one["kind"], "source": "GPIO%d" % one["pin"]}
            for one in self._board.INPUTS
        ]
        sensors += [
            {
                "name": one["name"],
                "kind": one["kind"],
                "unit": one["unit"],
                "source": one["source"],
                "interval_s": one["interval_ms"] / 1000,
            }
            for one in self._board.SENSORS
        ]
        leds = [{"name": one["name"], "pins": _gpios(one)} for one in self._board.LIGHTS]
        return {
            "model": self._model,
            "os_boot_id": self._boot_id,
            "agent_version": contract.AGENT_VERSION,
            "interval_s": self._settings["interval_s"],
            "clock_synced": self.clock_synced,
            "rack": self._settings["rack"],
            "slot": self._settings["slot"],
            "cores": 2,  # RP2040 and RP2350; MicroPython itself runs on the first
            "memory_bytes": self._memory_bytes,
            "pin_factory": "MicroPython",
            "sensors": sensors,
            "leds": leds,
        }

    def _reply(self, command_id, stage, words, effects):
        data = {"id": command_id, "stage": stage, "words": words}
        effects.append(("publish", "node-reply", (), data, None))

    def _end_identify(self, stage, words, effects):
        self._reply(self._identify[0], stage, words, effects)
        self._identify = None

    def _log(self, words, now_ms, effects):
        if self._logged_ms is None or now_ms - self._logged_ms >= LOG_MS_MIN:
            self._logged_ms = now_ms
            effects.append(("log", words))

    def _stop(self, reason, now_ms, wall_ms, effects):
        if self._identify:
            self._end_identify("expired", "the node is stopping", effects)
        self._stopped = True
        self._show("off", now_ms, wall_ms, effects)
        left = {"status": "left", "reason": reason}
        effects.append(("publish", "node-state", (), left, None))
        effects.append(("exit", reason))

    # --- what it shows ----------------------------------------------------------------------------

    def _paint(self, now_ms, wall_ms, effects):
        if self._identify:
            wanted = "identify"
        elif not self._up:
            wanted = "no-broker"
        elif self._liveness in LIGHT_FOR_LIVENESS:
            wanted = LIGHT_FOR_LIVENESS[self._liveness]
        else:
            wanted = LIGHT_FOR[(self._condition, self._scheduling)]
        self._show(wanted, now_ms, wall_ms, effects)

    def _show(self, wanted, now_ms, wall_ms, effects):
        for light in self._lights:
            changed = light.show(wanted, now_ms, wall_ms)
            for colour, value in light.due(now_ms):
                effects.append(("set", light.name, colour, value))
            if changed:
                self._complaints.pop(light.name, None)
                effects.append(("read back", light.name))

    def _on_lit(self, name, lit, effects):
        for light in self._lights:
            if light.name == name:
                error = light.complaint(lit)
                # A report says what is shown and whether it is true; single blinks are no news.
                if name not in self._complaints or self._complaints[name] != error:
                    self._complaints[name] = error
                    effects.append(("publish", "node-led", (name,), light.report(lit, error), None))


def _gpios(light):
    """{colour: GPIO}; the LED on the board itself hangs on the radio chip and has no number."""
    return {colour: pin for colour, pin in light["pins"].items() if isinstance(pin, int)}
