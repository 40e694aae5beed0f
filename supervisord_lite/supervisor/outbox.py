"""What the keeper is told: records with the requests that follow from them, page by page.

One worker's record and its requests are never split over two messages. "applied" goes with the last
page only, when every record that contains a fact has been sent. What must be known before any
worker is told of it (that the daemon stops) goes ahead of all pages.
"""

import json
from collections.abc import Callable, Iterable

from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError

Slot = tuple[str, int]
Request = dict[str, object]

_PAGE_BYTES = 60_000
#: Most bytes of one worker's record and requests together, encoded.
_SLOT_BYTES = channel.MAX_MESSAGE_BYTES - 4096


class Outbox:
    """Collects between two flushes."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Take what sends one packet."""
        self._send = send
        self._requests: dict[Slot, list[Request]] = {}
        self._extra: dict[str, object] = {}
        self._saves: dict[str, str] = {}
        self._first: dict[str, str] = {}
        self._applied = 0
        self._said_applied = 0

    def touch(self, slot: Slot) -> None:
        """The worker of *slot* has changed: its record goes out with the next flush."""
        self._requests.setdefault(slot, [])

    def request(self, slot: Slot, request: Request) -> None:
        """Ask the keeper for something that follows from the worker's record."""
        self._requests.setdefault(slot, []).append(request)

    def save(self, key: str, text: str, *, first: bool = False) -> None:
        """Keep a text that belongs to no worker: after the workers' records, or before them."""
        if first:
            self._first[key] = text
            self._saves.pop(key, None)
        else:
            self._saves[key] = text

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
        self, record: Callable[[Slot], str], too_large: Callable[[Slot, Request], None]
    ) -> None:
        """Send everything collected.

        Args:
            record: Returns the present record of a slot.
            too_large: Told of a request that does not fit into a message; it was left out.
        """
        if self._first:
            first, self._first = self._first, {}
            self._send(channel.encode({"save": first}))
        while self._requests:
            requests, self._requests = self._requests, {}
            self._send_pages(requests, record, too_large)
        last: dict[str, object] = {}
        if self._saves:
            last["save"], self._saves = self._saves, {}
        if self._applied > self._said_applied:
            self._said_applied = last["applied"] = self._applied
        if self._extra:
            last.update(self._extra)
            self._extra = {}
        if last:
            self._send(channel.encode(last))

    def _send_pages(
        self,
        requests: dict[Slot, list[Request]],
        record: Callable[[Slot], str],
        too_large: Callable[[Slot, Request], None],
    ) -> None:
        saves: dict[str, str] = {}
        todo: list[Request] = []
        size = 0
        for slot, wanted in requests.items():
            text = record(slot)
            cost = len(text) + text.count('"') + text.count("\\") + len(slot[0]) + 40
            fitting = list(self._fitting(slot, wanted, _SLOT_BYTES - cost, too_large))
            cost += sum(cost for _, cost in fitting)
            if saves and size + cost > _PAGE_BYTES:
                self._send(channel.encode({"save": saves, "do": todo}))
                saves, todo, size = {}, [], 0
            saves[f"worker/{slot[0]}/{slot[1]}"] = text
            todo += [request for request, _ in fitting]
            size += cost
        self._send(channel.encode({"save": saves, "do": todo}))

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


def record_text(seen: int, worker: dict[str, object]) -> str:
    """Return the text of one worker's record; *seen*: number of the last fact in it."""
    return json.dumps({"seen": seen, "worker": worker}, separators=(",", ":"))
