"""What the keeper is told: records with the requests that follow from them, page by page.

One worker's record and its requests are never split over two messages. "applied" goes with the last
page only, when every record that contains a fact has been sent. What must be known before any
worker is told of it (that the daemon stops) goes ahead of all pages.

What is told to the event journal travels with the record or the save that it follows from: the
keeper has both or none. Events are numbered here, as
they leave, so that their numbers rise in the journal, without a gap.

What changes the configuration goes as one packet, whatever its size (`whole`): specs, records and
requests together. Whoever takes over finds all of it or nothing. What is too large for a packet
travels in a memory file, page by page (`channel.IN_LINES`): to make or to read one message of ten
thousand workers would take longer than a loop may be away.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.base.record import fields_of
from supervisord_lite.core.pools import Slot as Slot
from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError

Request = dict[str, object]
#: What happened: its name and evidence, as it will stand in the journal.
Event = dict[str, object]
#: Numbers events: returns their lines, and the saves that remember the number.
Seal = Callable[[list[Event]], tuple[list[str], dict[str, str]]]

_PAGE_BYTES = 30_000
#: Most bytes of one worker's record and requests together, encoded.
_SLOT_BYTES = channel.MAX_MESSAGE_BYTES - 4096


def _nothing() -> None:
    pass


class Send(Protocol):
    """Sends one packet; descriptors that are *owned* are closed when it has left."""

    def __call__(
        self, data: bytes, descriptors: tuple[int, ...] = (), *, owned: bool = False
    ) -> None:
        """Send or queue."""


class Outbox:
    """Collects between two flushes.

    Attributes:
        seal: Makes lines of events; as long as nobody does, there is no journal.
        fed: Returns for whom else the lines are that were made since: [pool, index, line] each.
    """

    def __init__(
        self, send: Send, *, look: Callable[[], None] = _nothing, in_lines: bool = False
    ) -> None:
        """Begin with nothing.

        Args:
            send: Sends one packet.
            look: Called between two records: see in_between.py.
            in_lines: Whether the keeper understands `channel.IN_LINES`.
        """
        self._send_packet = send
        self._look = look
        self._in_lines = in_lines
        self._is_whole = False
        self._held: list[dict[str, object]] = []
        self._lines: list[bytes] = []
        self._requests: dict[Slot, list[Request]] = {}
        self._extra: dict[str, object] = {}
        self._saves: dict[str, str | None] = {}
        self._first: dict[str, str | None] = {}
        self._beside: dict[Slot, dict[str, str | None]] = {}
        self._events: dict[Slot, list[tuple[int, Event]]] = {}
        self._early: list[tuple[int, Event]] = []
        self._late: list[tuple[int, Event]] = []
        self._told = 0
        self.seal: Seal = lambda _events: ([], {})
        self.fed: Callable[[], list[list[object]]] = list
        self._applied = 0
        self._said_applied = 0

    def touch(self, slot: Slot) -> None:
        """The worker of *slot* has changed: its record goes out with the next flush."""
        self._requests.setdefault(slot, [])

    def request(self, slot: Slot, request: Request) -> None:
        """Ask the keeper for something that follows from the worker's record."""
        self._requests.setdefault(slot, []).append(request)

    def save(self, key: str, text: str | None, *, first: bool = False) -> None:
        """Keep a text that belongs to no worker: after the workers' records, or before them.

        None forgets what was kept.
        """
        if first:
            self._first[key] = text
            self._saves.pop(key, None)
        else:
            self._saves[key] = text

    def save_beside(self, slot: Slot, key: str, text: str | None) -> None:
        """Keep a text that travels with the worker's record; None forgets it."""
        self.touch(slot)
        self._beside.setdefault(slot, {})[key] = text

    def record(self, slot: Slot | None, event: Event, *, first: bool = False) -> None:
        """Tell the journal of something.

        Args:
            slot: Which worker it is about; it goes with that one's record. None: with the saves
                that are about no worker.
            event: What happened.
            first: With those of them that go ahead.
        """
        self._told += 1
        if slot is not None:
            self.touch(slot)
            self._events.setdefault(slot, []).append((self._told, event))
        elif first:
            self._early.append((self._told, event))
        else:
            self._late.append((self._told, event))

    def whole(self) -> None:
        """Let the next flush be one message."""
        self._is_whole = True

    def applied(self, number: int) -> None:
        """Every fact up to *number* is in the records."""
        self._applied = max(self._applied, number)

    def say(self, key: str, value: object) -> None:
        """Add a word to the next flush: "pong", "notify", "wake_at_s"."""
        self._extra[key] = value

    def said(self, key: str) -> object:
        """Return the word said under *key* since the last flush, or None."""
        return self._extra.get(key)

    def flush(
        self, record: Callable[[Slot], str | None], too_large: Callable[[Slot, Request], None]
    ) -> None:
        """Send everything collected.

        Args:
            record: Returns the present record of a slot; None: it is to be forgotten.
            too_large: Told of a request that does not fit into a message; it was left out.
        """
        if self._first:
            first, self._first = self._first, {}
            for page in _pages(first):
                self._send({"save": page})
        while self._requests:
            requests, self._requests = self._requests, {}
            self._send_pages(requests, record, too_large)
        last: dict[str, object] = {}
        if self._saves:
            saves, self._saves = self._saves, {}
            for page in _pages(saves):
                if "save" in last:
                    self._send({"save": last["save"]})
                    self._look()
                last["save"] = page
        if self._applied > self._said_applied:
            self._said_applied = last["applied"] = self._applied
        if self._extra:
            last.update(self._extra)
            self._extra = {}
        self._early += self._late
        self._late = []
        if last or self._early:
            self._send(last)
        if self._is_whole:
            self._send_whole()

    def _send(self, message: dict[str, object], events: Iterable[tuple[int, Event]] = ()) -> None:
        told = sorted([*self._early, *events], key=_number)
        self._early = []
        if told:
            lines, saves = self.seal([event for _, event in told])
            if lines:
                before = message.get("save")
                message["save"] = {**(before if isinstance(before, dict) else {}), **saves}
                message["events"] = lines
            if feed := self.fed():
                message["feed"] = feed
        if not self._is_whole:
            self._send_any_size(message)
            return
        self._held.append(message)
        if self._in_lines:
            self._lines.append(channel.encode_whole(message))

    def _send_whole(self) -> None:
        held, self._held, self._is_whole = self._held, [], False
        lines, self._lines = self._lines, []
        if sum(map(len, lines)) > channel.MAX_MESSAGE_BYTES:
            data = b"\n".join(lines)
            self._send_packet(channel.IN_LINES, (memory_file(data),), owned=True)
        else:
            self._send_any_size(_merged(held))

    def _send_any_size(self, message: dict[str, object]) -> None:
        """Send one message; one that no packet holds travels in a memfd."""
        data = channel.encode_whole(message)
        if len(data) <= channel.MAX_MESSAGE_BYTES:
            self._send_packet(data)
        else:
            self._send_packet(channel.IN_MEMORY, (memory_file(data),), owned=True)

    def _send_pages(
        self,
        requests: dict[Slot, list[Request]],
        record: Callable[[Slot], str | None],
        too_large: Callable[[Slot, Request], None],
    ) -> None:
        saves: dict[str, str | None] = {}
        todo: list[Request] = []
        told: list[tuple[int, Event]] = []
        size = 0
        for slot, wanted in requests.items():
            kept = record(slot)
            text = kept or ""
            # Now: what `too_large` brings about belongs to the next record.
            beside, happened = self._beside.pop(slot, {}), self._events.pop(slot, ())
            cost = len(text) + text.count('"') + text.count("\\") + len(slot[0]) + 40
            fitting = list(self._fitting(slot, wanted, _SLOT_BYTES - cost, too_large))
            cost += sum(cost for _, cost in fitting)
            if saves and size + cost > _PAGE_BYTES:
                self._send({"save": saves, "do": todo}, told)
                saves, todo, told, size = {}, [], [], 0
            saves.update(beside)
            told += happened
            saves[f"worker/{slot[0]}/{slot[1]}"] = kept
            todo += [request for request, _ in fitting]
            size += cost
            self._look()
        self._send({"save": saves, "do": todo}, told)

    def _fitting(
        self,
        slot: Slot,
        wanted: list[Request],
        left_bytes: int,
        too_large: Callable[[Slot, Request], None],
    ) -> Iterable[tuple[Request, int]]:
        for request in wanted:
            try:
                cost = len(channel.encode(request)) + 1
            except WireError:
                cost = left_bytes + 1
            if cost > left_bytes:
                too_large(slot, request)
                continue
            left_bytes -= cost
            yield request, cost


def _number(told: tuple[int, Event]) -> int:
    return told[0]


def _merged(messages: list[dict[str, object]]) -> dict[str, object]:
    merged: dict[str, object] = {}
    for message in messages:
        for key, value in message.items():
            held = merged.get(key)
            if isinstance(held, dict) and isinstance(value, dict):
                held.update(value)
            elif isinstance(held, list) and isinstance(value, list):
                held += value
            else:
                merged[key] = value
    return merged


def _pages(saves: dict[str, str | None]) -> Iterator[dict[str, str | None]]:
    """Yield *saves* in parts that each fit into a message, in their order."""
    page: dict[str, str | None] = {}
    size = 0
    for key, text in saves.items():
        cost = len(channel.encode_whole({key: text}))
        if page and size + cost > _PAGE_BYTES:
            yield page
            page, size = {}, 0
        page[key] = text
        size += cost
    yield page


def record_text(
    seen: int,
    worker: dict[str, object],
    policy: object | None = None,
    ends: list[object] | None = None,
    twin: dict[str, object] | None = None,
) -> str:
    """Return the text of one worker's record.

    Args:
        seen: Number of the last fact in it.
        worker: Without its policy.
        policy: What it lives by, where that is not its spec's any more.
        ends: How it has failed, where anybody will ask.
        twin: The run beside it, with the policy of that one.
    """
    record: dict[str, object] = {"seen": seen, "worker": worker}
    if policy is not None:
        record["policy"] = policy
    if ends:
        record["ends"] = ends
    if twin is not None:
        record["twin"] = twin
    return json.dumps(record, separators=(",", ":"), default=fields_of)
