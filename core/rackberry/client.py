"""The rack's work from Python: submit a job, get a future.

    >>> from rackberry import Client
    >>> with Client("127.0.0.1:1883") as rack:                        # doctest: +SKIP
    ...     future = rack.submit("primes", below=1_000_000)
    ...     print(future.result(timeout=60))
    {'below': 1000000, 'primes': 78498}

(tests/shell/test_work_commands.py runs this against a live rack.)

Theory of operation: futures are those of `concurrent.futures`, so `as_completed`, `wait` and callbacks
work; inside asyncio a future can be awaited. One thread owns all that is known: it takes in what the
link hears, and sends again what nobody answered. Every job travels under an idempotency key, so a
request that was sent twice, because its answer was lost or the broker restarted, is still one job.
What the master refuses is an exception with the master's own sentence. What the contract does not
allow never leaves: no reader would answer it, so it is refused here, and costs its own future only.
"""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from rackberry import topics
from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings, parse_host_port
from rackberry.loop import Inbox
from rackberry.messages import (
    ARGS_BYTES_MAX,
    CancelJob,
    HandlerInfo,
    JobStanding,
    Message,
    Needs,
    NodeInfo,
    Reply,
    Retry,
    Submit,
    Verdict,
)
from rackberry.mqtt import Link
from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkUp, Publish, Received, Refused
from rackberry.topics import Address
from rackberry.wire import PAYLOAD_BYTES_MAX, Stamper

__all__ = [
    "Client", "JobCancelledError", "JobError", "JobFailedError", "JobFuture", "NoAnswerError",
    "NotConnectedError", "RackError", "RefusedError",
]  # fmt: skip

NEVER = float("inf")
RESEND_S = 2.0  # within the ten seconds that a request lives in the broker
CONNECT_S = 10.0
ANSWER_S = 10.0
FLUSH_S = 1.0
FINISHED = frozenset({"done", "failed", "cancelled"})
NOTHING_AHEAD_S = 0.5
REQUEST_BYTES_MAX = PAYLOAD_BYTES_MAX - 1024  # the rest is for the envelope

RequestT = TypeVar("RequestT", bound=Message)


class RackError(Exception):
    """What can go wrong between here and the rack."""


class NotConnectedError(RackError):
    """There is no broker to talk to; the message says why."""


class NoAnswerError(RackError, TimeoutError):
    """The master did not answer in time."""


class RefusedError(RackError, ValueError):
    """The master refused, in its own words; or it would not have been able to read the request."""


class JobError(RackError):
    """A job that came to nothing.

    Attributes:
        standing: where the job stands, with its attempts.
    """

    def __init__(self, standing: JobStanding) -> None:
        super().__init__(f"{standing.job} ({standing.handler}) {standing.state}: {standing.reason}")
        self.standing = standing


class JobFailedError(JobError):
    """The job failed for good."""


class JobCancelledError(JobError):
    """Somebody cancelled the job."""


class JobFuture(Future[Any]):
    """A job's result, when there is one; `await` it inside asyncio.

    To cancel the await, as the timeout of `asyncio.wait_for` does, is to give the job up;
    `asyncio.shield` lets it go on.

    `result()` gives what the handler returned, or raises `RefusedError`, `JobFailedError` or
    `JobCancelledError`.
    """

    def __init__(self, client: "Client", handler: str, key: str) -> None:
        super().__init__()
        self._client = client
        self.handler = handler
        self.key = key
        self.job = ""
        """The job's id, once the master has accepted it."""
        self.accepted = threading.Event()
        """Set when the master has answered, or all is over."""

    @property
    def standing(self) -> JobStanding | None:
        """Where the job stands, as far as is known."""
        return self._client.job(self.job) if self.job else None

    def running(self) -> bool:
        """Whether a node has it now."""
        standing = self.standing
        return standing is not None and standing.state == "running"

    def cancel(self) -> bool:
        """Ask the master to give the job up; False when it is too late.

        Raises:
            NoAnswerError: when the master does not answer in time.
        """
        if self.done():
            return False
        if not self.accepted.wait(ANSWER_S):
            raise NoAnswerError(f"the master has not answered the submission of {self.handler}")
        try:
            self._client.cancel(self.job)
        except RefusedError:
            return False
        return True

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def wake(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(over.set)

        self.add_done_callback(wake)
        try:
            await over.wait()
        except asyncio.CancelledError:
            if not self.done():  # the master is asked in a thread: the loop shall not wait for it
                loop.run_in_executor(None, self._give_up)
            raise
        return self.result()

    def _give_up(self) -> None:
        with contextlib.suppress(RackError):
            self.cancel()


Answer = Callable[[Reply | BaseException], None]
"""Takes what the master answered, or why there will be no answer; called once."""


@dataclass(slots=True)
class _Asked:
    """A request that wants an answer."""

    address: Address
    request: Message
    due_s: float
    answer: Answer


class Client:
    """A rack to give work to.

    Args:
        broker: HOST:PORT, or None for `settings`.
        settings: how to reach the broker, with TLS and password if it wants them.
        submitter: whom the work is for: the rack is fair between submitters.

    Raises:
        ConfigError: when `broker` is not HOST:PORT.
        NotConnectedError: on `connect` (or `with`), when nobody answers.
    """

    def __init__(
        self,
        broker: str | None = None,
        *,
        settings: BrokerSettings | None = None,
        submitter: str = "",
    ) -> None:
        if broker is not None:
            host, port = parse_host_port(broker)
            settings = BrokerSettings(host=host, port=port)
        self._settings = settings or BrokerSettings()
        self._submitter = submitter
        self._clock = SystemClock()
        self._chance = system_random()
        incarnation = new_incarnation(self._chance)
        self.name = f"lib-{incarnation}"
        """The client's id on the broker, to which answers come."""
        self._numbers = itertools.count(1)
        self._inbox: Inbox[Any] = Inbox()
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}
        self._again_due_s = NEVER
        """No request is to be sent again before."""
        self._by_job: dict[str, list[JobFuture]] = {}
        self._standings: dict[str, JobStanding] = {}
        self._infos: dict[str, NodeInfo] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._caught_up = threading.Event()
        self._up = False
        self._trouble = "no answer"
        self._closing = False
        self._failure: BaseException | None = None
        self._link = Link(
            self._settings,
            self.name,
            Stamper(incarnation),
            self._inbox,
            self._clock,
            self._chance,
            (
                topics.REPLY.filter(self.name),
                topics.REPLY_JOB.filter(self.name),
                topics.MASTER_JOB.filter(),
                topics.MASTER_VERDICT.filter(),
                topics.NODE_INFO.filter(),
            ),
            read_qos=0,  # what is retained comes again, what is asked is asked again
            denied=lambda address: self._inbox.put(Refused("denied", address.route.name)),
        )
        self._thread = threading.Thread(target=self._main, name="rackberry-client", daemon=True)

    # --- life -------------------------------------------------------------------------------------

    def connect(self, timeout_s: float = CONNECT_S) -> "Client":
        """Connect, and learn what the rack can do; nothing is done twice.

        Raises:
            NotConnectedError: when that does not happen within `timeout_s` seconds, or the client
                was closed before.
        """
        if self._closing:
            raise self._why_closed()
        if self._thread.ident is None:
            self._link.start()
            self._thread.start()
        if not self._caught_up.wait(timeout_s):
            self.close()
            where = f"{self._settings.host}:{self._settings.port}"
            raise NotConnectedError(f"no rack at {where} within {timeout_s:g} s: {self._trouble}")
        return self

    def close(self) -> None:
        """Disconnect. Jobs go on; their futures here end with `NotConnectedError`."""
        self._closing = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(FLUSH_S + 1)
        self._link.stop(FLUSH_S)

    def __enter__(self) -> "Client":
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "Client":
        return await asyncio.to_thread(self.connect)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    # --- work -------------------------------------------------------------------------------------

    def submit(self, handler: str, /, **args: Any) -> JobFuture:
        """Have `handler` run with these arguments; `submit_job` takes more than arguments.

        Raises:
            RefusedError: never here: it comes out of the future.
        """
        return self.submit_job(handler, args)

    def submit_job(
        self,
        handler: str,
        args: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        needs: Needs | None = None,
        **options: Any,
    ) -> JobFuture:
        """Have a job done.

        Args:
            handler: what is to run.
            args: its arguments.
            key: idempotency key; one of our own by default. The same key is the same job, whoever asks.
            needs: what the node must have.
            options: `priority`, `on_loss`, `retries`, `limit_s`, `deadline_s`, `mem_max_bytes`, `after`,
                `hold`, as in `rackberry.messages.Submit`.

        Raises:
            TypeError: for an option that there is none of.
        """
        number = next(self._numbers)
        request = Submit(
            id=f"r{number}",
            client=self.name,
            handler=handler,
            args=dict(args or {}),
            submitter=self._submitter,
            key=key if key is not None else f"{self.name}-{number}",
            needs=needs or Needs(),
            **options,
        )
        future = JobFuture(self, handler, request.key)
        self._ask(topics.REQUEST_SUBMIT, request, lambda answer: self._accepted(future, answer))
        return future

    def map(self, handler: str, many: Iterable[Mapping[str, Any]]) -> list[JobFuture]:
        """A future for each set of arguments, in their order."""
        return [self.submit_job(handler, args) for args in many]

    def cancel(self, job: str, reason: str = "") -> str:
        """Give a job up; returns the master's words.

        Raises:
            RefusedError: when it is done already, or there is none.
            NoAnswerError: when the master does not answer in time.
        """
        request = CancelJob(id=self._new_id(), client=self.name, job=job, reason=reason)
        return self._answered(topics.REQUEST_CANCEL, request)

    def retry(self, job: str) -> str:
        """Try a held, failed or cancelled job again; returns the master's words.

        Raises:
            RefusedError: when it cannot be retried.
            NoAnswerError: when the master does not answer in time.
        """
        request = Retry(id=self._new_id(), client=self.name, job=job)
        return self._answered(topics.REQUEST_RETRY, request)

    # --- what is known ----------------------------------------------------------------------------

    def job(self, job: str) -> JobStanding | None:
        """Where a job stands, or None when nothing is known of it."""
        return self._standings.get(job)

    def jobs(self) -> list[JobStanding]:
        """Where every job stands that the master remembers, oldest first."""
        with self._lock:
            return sorted(
                self._standings.values(), key=lambda given: (given.submitted_ms, given.job)
            )

    def nodes(self) -> dict[str, Verdict]:
        """What the master holds of each node."""
        with self._lock:
            return dict(self._verdicts)

    def handlers(self) -> dict[str, HandlerInfo]:
        """What the nodes of the rack can run, with the arguments it takes."""
        with self._lock:
            infos = list(self._infos.values())
        return {handler.name: handler for info in infos for handler in info.handlers}

    # --- asking -----------------------------------------------------------------------------------

    def _new_id(self) -> str:
        return f"r{next(self._numbers)}"

    def _ask(
        self, route: topics.Route, request: Submit | CancelJob | Retry, answer: Answer
    ) -> None:
        try:
            request = as_read(request)
        except RefusedError as error:
            answer(error)
            return
        asked = _Asked(route.at(), request, self._clock.now() + RESEND_S, answer)
        if self._thread.ident is None:
            answer(NotConnectedError("not connected yet: use `with Client(...)`, or connect()"))
            return
        with self._lock:
            closed = self._closing or self._failure is not None
            if not closed:
                self._asked[request.id] = asked
                self._again_due_s = min(self._again_due_s, asked.due_s)
        if closed:
            answer(self._why_closed())
        else:
            self._link.publish(Publish(asked.address, request))

    def _answered(self, route: topics.Route, request: CancelJob | Retry) -> str:
        asked: Future[Reply] = Future()

        def answer(given: Reply | BaseException) -> None:
            if isinstance(given, Reply):
                asked.set_result(given)
            else:
                asked.set_exception(given)

        self._ask(route, request, answer)
        try:
            reply = asked.result(ANSWER_S)
        except TimeoutError:
            with self._lock:
                self._asked.pop(request.id, None)
            raise NoAnswerError(f"the master did not answer within {ANSWER_S:.0f} s") from None
        if not reply.ok:
            raise RefusedError(reply.words)
        return reply.words

    def _accepted(self, future: JobFuture, reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            _fail(future, reply)
            return
        if not reply.ok:
            _fail(future, RefusedError(reply.words))
            return
        future.job = reply.job
        with self._lock:
            known = self._standings.get(reply.job)
            if known is None or known.state not in FINISHED:
                self._by_job.setdefault(reply.job, []).append(future)
                known = None
        future.accepted.set()
        if known is not None:
            _settle(future, known)

    def _why_closed(self) -> RackError:
        why = f": {self._failure}" if self._failure is not None else ""
        return NotConnectedError(f"the client is closed{why}; jobs that were accepted go on")

    # --- the owner's thread -----------------------------------------------------------------------

    def _main(self) -> None:
        try:
            while not self._closing:
                event = self._inbox.get(NOTHING_AHEAD_S)
                if event is not None:
                    self._take(event)
                self._send_again()
        except BaseException as error:  # told by every future; there is nobody to raise it to
            self._failure = error
            self._trouble = str(error)
        self._end()

    def _end(self) -> None:
        with self._lock:
            self._closing = True
            asked = list(self._asked.values())
            futures = [future for held in self._by_job.values() for future in held]
            self._asked.clear()
            self._by_job.clear()
        for given in asked:
            given.answer(self._why_closed())
        for future in futures:
            _fail(future, self._why_closed())

    def _take(self, event: object) -> None:
        match event:
            case Received(data=Reply() as reply):
                with self._lock:
                    asked = self._asked.pop(reply.id, None)
                if asked is not None:
                    asked.answer(reply)
            case Received(data=JobStanding() as standing):
                self._stands(standing)
            case Received(address=address, data=NodeInfo() as info):
                with self._lock:
                    self._infos[address.first] = info
            case Received(address=address, data=Verdict() as verdict):
                with self._lock:
                    self._verdicts[address.first] = verdict
            case Cleared(address=address):
                self._forget(address)
            case CaughtUp():
                self._caught_up.set()
            case LinkUp():
                self._up = True
                with self._lock:  # what was on its way when the connection broke may be lost
                    for given in self._asked.values():
                        given.due_s = 0.0
                    self._again_due_s = 0.0
            case LinkDown(reason=reason):
                self._up = False
                self._trouble = reason
            case Refused(cause="denied"):
                raise NotConnectedError("the broker does not let this user ask for work")

    def _stands(self, standing: JobStanding) -> None:
        with self._lock:
            known = self._standings.get(standing.job)
            if known is not None and known.changed_ms > standing.changed_ms:
                return  # what is retained may come after what we were told
            self._standings[standing.job] = standing
            over = standing.state in FINISHED
            futures = self._by_job.pop(standing.job, []) if over else []
        for future in futures:
            _settle(future, standing)

    def _forget(self, address: Address) -> None:
        with self._lock:
            if address.route is topics.MASTER_JOB:
                self._standings.pop(address.first, None)
            elif address.route is topics.NODE_INFO:
                self._infos.pop(address.first, None)
            elif address.route is topics.MASTER_VERDICT:
                self._verdicts.pop(address.first, None)

    def _send_again(self) -> None:
        now = self._clock.now()
        if not self._up or now < self._again_due_s:
            return
        with self._lock:
            due = [asked for asked in self._asked.values() if now >= asked.due_s]
            for asked in due:
                asked.due_s = now + RESEND_S
            self._again_due_s = min((given.due_s for given in self._asked.values()), default=NEVER)
        for asked in due:
            self._link.publish(Publish(asked.address, asked.request))


def as_read(request: RequestT) -> RequestT:
    """The request as its reader will see it: a copy that the caller's later changes do not reach.

    Raises:
        RefusedError: when the contract does not allow it.

    >>> as_read(Retry(id="r1", client="me", job="No Such"))
    Traceback (most recent call last):
    ...
    rackberry.client.RefusedError: job: expected `str` matching regex '^[a-z0-9][a-z0-9-]{0,62}$'
    """
    try:
        payload = msgspec.json.encode(request)
        if len(payload) <= REQUEST_BYTES_MAX:
            return msgspec.json.decode(payload, type=type(request))
    except msgspec.ValidationError as error:
        words, _, where = str(error).partition(" - at `$.")
        named = f"{where.rstrip('`')}: " if where else ""
        raise RefusedError(f"{named}{words[:1].lower()}{words[1:]}") from None
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RefusedError(f"not to be written as JSON: {error}") from None
    raise RefusedError(
        f"a request of {len(payload)} bytes is too large: arguments may have {ARGS_BYTES_MAX}"
    )


def _fail(future: JobFuture, error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
    future.accepted.set()


def _settle(future: JobFuture, standing: JobStanding) -> None:
    """Give the future what became of its job."""
    if future.done():
        return
    if standing.state == "done":
        future.set_result(standing.result)
    elif standing.state == "cancelled":
        future.set_exception(JobCancelledError(standing))
    else:
        future.set_exception(JobFailedError(standing))
