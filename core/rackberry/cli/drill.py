"""Drills: break something of the demo on purpose, say before what should come of it, and look.

Theory of operation: whoever is struck, or its parent, breaks and mends (`hands`); this command asks for it
and watches the rack over MQTT as any other tool would. Times are counted from the act, by the
one monotonic clock of this machine. The demo mends when this command
ends, however it ends.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from rackberry.cli.group import (
    ERROR,
    INTERRUPTED,
    OK,
    TIMED_OUT,
    UNREACHABLE,
    CommandError,
    Options,
    shared,
)
from rackberry.cli.hands import OF_A_RACK, DemoHand, Hand, RackHand
from rackberry.cli.session import Session, broker_settings, options_of
from rackberry.config import load, parse_host_port
from rackberry.messages import MasterEvent, MasterState, NodeHealth, RecentEvents, Verdict
from rackberry.ports import LinkDown, LinkEvent, LinkUp, Received
from rackberry_agent.settings import AgentSettings
from rackberry_master.detector import Pulse
from rackberry_master.settings import MasterSettings
from rackberry_sim import running
from rackberry_sim.drills import DRILLS, Drill, Numbers, Seen, first, surprises
from rackberry_tui.text import clean

STRIKE_S = 10.0
HEAL_S = 30.0
HEARD_S = 10.0
LOOK_S = 0.05
WIDTH = 96
ABSENCES = frozenset({"master-started", "master-lagged", "broker-back", "hearing-back"})
BEATS = 3  # of each node before anything is struck


@click.command()
@click.argument("name", metavar="[DRILL]", default="")
@click.argument("node", metavar="[NODE]", default="")
@click.option(
    "--for", "for_s", type=click.FloatRange(0.5, 100), help="Seconds it stays broken, at least."
)
@click.option("--json", "as_json", is_flag=True, help="One document on stdout.")
@shared
@click.pass_context
def drill(ctx: click.Context, name: str, node: str, for_s: float | None, as_json: bool) -> int:
    """Break something of the demo on purpose, and watch the rack cope.

    On a rack that is no demo, nodes with `drills = true` in their configuration kill, freeze or slow their
    own agent. Without a name the drills are listed. What is broken is mended at the end, also after Ctrl-C.
    """
    if not name:
        return _list(as_json)
    if name not in DRILLS:
        raise CommandError(f"there is no drill {name!r}; there are: {', '.join(DRILLS)}")
    given, options = DRILLS[name], options_of(ctx)
    least_s = given.for_s if for_s is None else for_s
    table = running.find()
    meant = broker_settings(options)
    if table is None or (meant.host, meant.port) != parse_host_port(table["broker"]):
        try:
            return _on_a_rack(options, given, node, least_s, as_json)
        except CommandError as error:
            if table is None and error.exit_code == UNREACHABLE:
                words = (
                    f"no demo runs here; start one in another terminal:  rackberry demo.  {error}"
                )
                raise CommandError(words, UNREACHABLE) from None
            raise
    node = _target(given, node, table["nodes"], "this demo")
    options.broker = table["broker"]
    with Session(options) as session:
        watch = Watch(session, given, node, quiet=as_json)
        watch.foretell(_numbers(table, node))
        return _do(watch, lambda: DemoHand(table, name, node), least_s)


def _do(watch: "Watch", strike: Callable[[], Hand], least_s: float) -> int:
    ended = OK
    try:
        watch.run(strike, least_s)
    except KeyboardInterrupt:
        ended = INTERRUPTED
        click.echo("stopped; what was broken is mended", err=True)
    return ended if watch.verdict() or ended else ERROR


def _on_a_rack(options: Options, given: Drill, node: str, least_s: float, as_json: bool) -> int:
    """On a rack that is no demo: only what a node may do to itself."""
    if given.name not in OF_A_RACK:
        raise CommandError(
            f"{given.name} is done to a demo only; start one in another terminal:  rackberry demo.  "
            f"Nodes that allow drills do to themselves: {', '.join(OF_A_RACK)}"
        )
    with Session(options) as session:
        node = _target(given, node, sorted(session.model.nodes), "this rack")
        view = session.node(node)
        evidence = view.verdict.evidence if view.verdict else {}
        known = {
            "interval_s": "interval_s",
            "suspect_s": "suspect_after_s",
            "dead_s": "dead_after_s",
        }
        told = {ours: evidence.get(theirs) for ours, theirs in known.items()}
        numbers = Numbers(**{key: value for key, value in told.items() if isinstance(value, float)})
        watch = Watch(session, given, node, quiet=as_json)
        watch.foretell(numbers)
        shown_s = (step.about_s + 2.0 for step in given.steps(numbers) if step.act == "broken")
        longest_s = max(least_s, *shown_s)
        return _do(
            watch, lambda: RackHand(session, given.name, node, min(longest_s, 60.0)), least_s
        )


def _list(as_json: bool) -> int:
    if as_json:
        rows = [{"name": d.name, "strikes": d.strikes, "about": d.about} for d in DRILLS.values()]
        click.echo(json.dumps(rows))
        return OK
    for given in DRILLS.values():
        click.echo(f"  {given.name:<15} {given.about}")
    click.echo(
        "\nTry one on the running demo:  rackberry drill kill node-2\nLessons: docs/lessons/"
    )
    return OK


def _target(given: Drill, node: str, nodes: list[str], where: str) -> str:
    if given.strikes != "node":
        if node:
            raise CommandError(f"{given.name} strikes the {given.strikes}; it takes no NODE")
        return ""
    if node not in nodes:
        what = f"there is no node {node!r} in {where}" if node else f"{given.name} needs a NODE"
        raise CommandError(f"{what}; there are: {', '.join(nodes) or 'none'}")
    return node


def _numbers(table: dict[str, Any], node: str) -> Numbers:
    """What the files that the running processes were started with promise."""
    files = {row["name"]: row["config"] for row in table["processes"]}
    limits = load(MasterSettings, files["master"], env={}).detector.limits()
    agent = load(AgentSettings, files[node or table["nodes"][0]], env={})
    pulse = Pulse(agent.interval_s, limits)
    return Numbers(
        agent.interval_s, pulse.suspect_after_s, pulse.dead_after_s, limits.dead_ceiling_s,
        limits.will_grace_s, limits.probation_s, agent.vitals_s,
    )  # fmt: skip


class Watch:
    """One drill as it is seen from outside.

    Args:
        session: a connection to the rack's broker.
        given: the drill.
        node: whom it strikes; empty for the broker and the master.
        quiet: print nothing but the one document at the end.
    """

    def __init__(self, session: Session, given: Drill, node: str, *, quiet: bool) -> None:
        self._session, self._given, self._node, self._quiet = session, given, node, quiet
        self._acts: dict[str, float] = {}
        self._did: list[dict[str, Any]] = []
        self._seen: list[Seen] = []
        self._last = {("", "link"): "back", ("", "master"): "online"}
        self._heard: Counter[str] = Counter()
        """Heartbeats of each node since this command last found the broker."""
        self._number = max((event.number for event in session.model.events), default=0)
        self._steps = given.steps(Numbers())
        session.listen(self._note)

    def _say(self, words: str = "") -> None:
        if not self._quiet:
            click.echo(words)

    def foretell(self, numbers: Numbers) -> None:
        """Say what will happen, and why; refuse a rack that is not well to begin with."""
        self._steps = self._given.steps(numbers)
        why = click.wrap_text(self._given.why(numbers), WIDTH, "  ", "  ")
        self._say(f"{self._given.about}\n\nWhat should happen, and why\n{why}")
        if not self._session.wait(lambda: self._well() and self._settled_again(numbers), HEARD_S):
            held = {node: verdict.liveness for node, verdict in self._verdicts().items()}
            words = (
                f"{self._node} is {held.get(self._node, 'unknown')}"
                if self._node
                else "the rack is silent"
            )
            raise CommandError(f"{words}: a drill begins with what is alive and heard")
        for node, verdict in self._verdicts().items():
            self._last[node, "liveness"] = verdict.liveness
            self._last[node, "condition"] = verdict.condition

    def _verdicts(self) -> dict[str, Verdict]:
        nodes = self._session.model.nodes
        return {node: view.verdict for node, view in nodes.items() if view.verdict is not None}

    def _settled_again(self, numbers: Numbers) -> bool:
        """Whether the master judges again: for a while after its own absence it gives everybody time."""
        wall_ms = self._session.clock.wall_ms()
        least_ms = 1000 * (numbers.suspect_s + numbers.dead_s)
        events = self._session.model.events
        return not any(e.kind in ABSENCES and 0 <= wall_ms - e.at_ms < least_ms for e in events)

    def _well(self, beats: int = BEATS) -> bool:
        """Whether everybody who is alive was heard so often, the node to be struck among them."""
        alive = {node for node, verdict in self._verdicts().items() if verdict.liveness == "alive"}
        return (
            bool(alive)
            and min(self._heard[node] for node in alive) >= beats
            and (not self._node or self._node in alive)
        )

    def run(self, strike: Callable[[], Hand], for_s: float) -> None:
        """Let it be done, watch until all is seen or late, have it mended, and watch again."""
        self._say("\nWhat happens, in seconds since it was broken")
        hand = strike()
        try:
            self._follow(hand, lambda: bool(self._did), STRIKE_S)
            began_s = self._acts["broken"]
            during = [step for step in self._steps if step.act != "healed"]

            def enough() -> bool:
                return self._now() - began_s >= for_s and self._settled(during)

            self._follow(hand, enough, 100.0)
        finally:
            hand.heal()
            if self._acts:
                self._follow(hand, lambda: "healed" in self._acts, HEAL_S)
            hand.close()
        after = [step for step in self._steps if step.act == "healed"]
        self._session.wait(lambda: self._settled(after), 60.0)

    def _now(self) -> float:
        return self._session.clock.now()

    def _settled(self, steps: list[Any]) -> bool:
        """Whether each of these steps was seen, or is too late by now."""
        return all(
            self._first(step) is not None
            or (step.act in self._acts and self._now() > self._acts[step.act] + step.by_s)
            for step in steps
        )

    def _first(self, step: Any) -> float | None:
        return first(self._seen, step, self._acts, self._node)

    def _follow(self, hand: Hand, until: Callable[[], bool], timeout_s: float) -> None:
        """Read what the hand says and what the rack says, until that holds."""
        deadline_s = self._now() + timeout_s
        while not until() and self._now() < deadline_s:
            for said in hand.read():
                self._obeyed(said)
            self._session.wait(until, LOOK_S)
        if not self._did:
            raise CommandError(
                f"nobody answered within {STRIKE_S:.0f} s; nothing was done", TIMED_OUT
            )

    def _obeyed(self, said: dict[str, Any]) -> None:
        if "refused" in said:
            raise CommandError(clean(said["refused"]))
        before = [seen for seen in self._seen if not self._acts and seen.at_s >= said["at_s"]]
        self._acts.setdefault(said["act"], said["at_s"])
        self._did.append(said)
        self._line(said["at_s"], ">>>", clean(said["did"]))
        for seen in before:  # the rack was quicker than the hand's own word
            self._tell(seen)

    # --- what the rack says -----------------------------------------------------------------------

    def _note(self, event: LinkEvent) -> None:
        if isinstance(event, LinkDown):
            self._see("link", "lost", "", "this command lost the broker", once=True)
            self._heard.clear()
            self._last["", "rack"] = ""
        elif isinstance(event, LinkUp):
            self._see("link", "back", "", "this command found the broker again", once=True)
        elif isinstance(event, Received):
            data = event.data
            if isinstance(data, Verdict):
                node = event.address.ids[0]
                words = data.reason
                self._see("liveness", data.liveness, node, words, once=True)
                self._see("condition", data.condition, node, words, once=True)
            elif isinstance(data, NodeHealth) and not event.retained:
                self._heard[event.address.ids[0]] += 1
                if self._well(1):
                    self._see("rack", "heard", "", "every node is heard", once=True)
            elif isinstance(data, MasterState):
                self._see("master", data.status, "", f"the master is {data.status}", once=True)
            elif isinstance(data, MasterEvent):
                self._happened(data)
            elif isinstance(data, RecentEvents):  # of what was told while we had no broker
                for missed in data.events:
                    self._happened(missed)

    def _happened(self, event: MasterEvent) -> None:
        if event.number > self._number:
            self._number = event.number
            words = f"{event.words} ({event.why})" if event.why else event.words
            self._see("event", event.kind, event.node, words)

    def _see(self, kind: str, value: str, node: str, words: str, *, once: bool = False) -> None:
        """Keep a fact; of what is repeated only the changes."""
        if once and self._last.get((node, kind)) == value:
            return
        self._last[node, kind] = value
        seen = Seen(self._now(), kind, value, node, clean(words))
        self._seen.append(seen)
        if self._acts:
            self._tell(seen)

    def _tell(self, seen: Seen) -> None:
        words = seen.words
        if seen.kind == "liveness":
            words = f"{seen.node} -> {seen.value}"
        elif seen.kind == "condition" or seen.value == "sensor-edge":
            return
        self._line(seen.at_s, "", words)

    def _line(self, at_s: float, mark: str, words: str) -> None:
        since_s = at_s - self._acts["broken"]
        self._say(f"{max(0.0, since_s):8.2f}  {mark:>3} {words}")

    # --- the end ----------------------------------------------------------------------------------

    def verdict(self) -> bool:
        """Say what was expected beside what was seen; True when they agree."""
        began_s = self._acts.get("broken", 0.0)
        surprised = surprises(self._given, self._node, (s for s in self._seen if s.at_s >= began_s))
        rows = []
        for step in self._steps:
            seen_s = self._first(step)
            fine = seen_s is not None and seen_s <= step.by_s
            rows.append({
                "after": step.act, "what": f"{step.kind} {step.value}", "about_s": step.about_s,
                "by_s": step.by_s, "seen_s": seen_s, "ok": fine,
            })  # fmt: skip
        ok = all(row["ok"] for row in rows) and not surprised
        if self._quiet:
            acts = [{**act, "at_s": round(act["at_s"] - began_s, 3)} for act in self._did]
            seen = [
                {"at_s": round(s.at_s - began_s, 3), "what": f"{s.kind} {s.value}", "node": s.node,
                 "words": s.words}
                for s in self._seen if s.at_s >= began_s
            ]  # fmt: skip
            document = {"drill": self._given.name, "node": self._node, "acts": acts, "seen": seen,
                        "expected": rows, "surprises": surprised, "ok": ok}  # fmt: skip
            click.echo(json.dumps(document))
            return ok
        self._say("\nExpected, and seen, in seconds since the act")
        for row in rows:
            mark = "ok" if row["ok"] else "NO"
            found = "not seen" if row["seen_s"] is None else f"seen after {row['seen_s']:.2f}"
            self._say(
                f"  {mark}  {row['what']:<26} after {row['after']:<7} about {row['about_s']:>5.1f}, "
                f"at most {row['by_s']:>5.1f}: {found}"
            )
        for words in surprised:
            self._say(f"  NO  {words}")
        if self._given.spares and not surprised:
            self._say("  ok  nobody was declared dead")
        self._say(f"\nThe lesson: docs/lessons/{self._given.name}.md")
        return ok
