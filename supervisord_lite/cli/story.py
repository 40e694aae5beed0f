"""Why a worker is as it is, as text of 80 columns.

In five parts: how it is, its story, its last words, what decided, and what to type.

A story goes back to where the present state began: to the start that a person asked for, or to the
daemon's own. What an earlier life of the daemon has left (a breaker that was open) is told from
there. Times are the clock on the wall; days are named where they change.
"""

import textwrap
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any

from supervisord_lite.base.units import format_duration
from supervisord_lite.cli.deciding import Decided
from supervisord_lite.cli.happened import (
    Event,
    asker_of,
    end_of,
    failure_of,
    is_readable,
    line_of,
    time_of,
)
from supervisord_lite.cli.snapshot import SPAWN_FAILED
from supervisord_lite.cli.telling import telling
from supervisord_lite.cli.text import COLUMNS, clip, count, fold, printable

#: Where the text of an event begins, and what stands at its right.
_TEXT_COLUMN = 19
_RIGHT_COLUMN = 63
#: Events of the worker that are told; what is older stands in `events`.
_MOST_EVENTS = 20
_MOST_WORDS = 5
_ORIGIN_COLUMN = 41


class Story:
    """One worker, what happened to it, and when it is told."""

    def __init__(self, told: dict[str, Any], events: Iterable[Event], *, now: datetime) -> None:
        """Choose what belongs to its present state.

        Args:
            told: As the daemon tells it (the type Story of the varlink definition).
            events: Of the journal, the oldest first: of this worker, of others, of the daemon.
            now: For how long something lasts, and which day it is.
        """
        self.told = told
        self.worker: dict[str, Any] = told["worker"]
        self.policy: dict[str, Any] = told.get("policy") or {}
        self.now = now
        slot = self.worker["pool"], self.worker["instance"]
        own = [
            e
            for e in events
            if is_readable(e) and ("pool" not in e or (e["pool"], e.get("instance")) == slot)
        ]
        self.events, self.is_cut = _chosen(_without_end(own))

    @property
    def name(self) -> str:
        """Return the worker's name, printable."""
        return printable(str(self.worker["name"]))

    @property
    def state(self) -> str:
        """Return its state in a word."""
        return str(self.worker["state"])

    @property
    def is_job_at_rest(self) -> bool:
        """Return whether it is a job that waits for its time."""
        is_planned = self.worker.get("next_start_in_s") is not None
        return self.state == "waiting" and bool(self.worker.get("schedule")) and is_planned

    def latest(self, *kinds: str) -> Event | None:
        """Return the latest event of one of these kinds, or None."""
        return next((e for e in reversed(self.events) if e.get("event") in kinds), None)

    def reasons(self) -> str:
        """Return for which reasons its runs ended, where they say more than how."""
        return "; ".join(str(e["reason"]) for e in self.events if "reason" in e)


def _without_end(own: list[Event]) -> list[Event]:
    """Return the events without supervisors that were replaced after all that is told."""
    end = len(own)
    while end and own[end - 1].get("event") == "supervisor.adopted":
        end -= 1
    return own[:end]


def _chosen(own: list[Event]) -> tuple[list[Event], bool]:
    """Return the events that explain the present state, and whether there would be more."""
    chosen: list[Event] = []
    told = 0
    for event in reversed(own):
        kind = str(event.get("event"))
        if kind == "daemon.started" and told:
            return chosen[::-1], False
        if told >= _MOST_EVENTS:
            return _from_worker(chosen), True
        if "instance" in event:
            told += kind != "worker.ready"
        chosen.append(event)
        if kind == "worker.started" and "by_uid" in event:
            return _from_worker(chosen), False
    return chosen[::-1] if told else [], False


def _from_worker(chosen: list[Event]) -> list[Event]:
    """Return events in order, from the first one that is about the worker."""
    while chosen and "instance" not in chosen[-1]:
        chosen.pop()
    return chosen[::-1]


# -- the whole -------------------------------------------------------------------------------------


def lines_of(
    story: Story, last_words: list[dict[str, Any]], decided: list[Decided], *, command: str
) -> Iterator[str]:
    """Yield the lines for one worker.

    Args:
        story: Whose.
        last_words: The ends of its logs (the type LastWords), if its last run ended badly.
        decided: Which keys decided, and where they stand.
        command: How to call this command for the same daemon.
    """
    yield from _sentences(story)
    told = list(_told(story))
    if told:
        yield ""
        if story.is_cut:
            yield f"(earlier: {command} events {story.name})"
        yield from told
    words = list(_words(story, last_words))
    following = list(_ways(story, command))
    if told or words:
        yield from [""] * bool(words or decided or following)
    yield from words
    if decided:
        yield "decided by"
        for text, origin in decided:
            yield from _decided(printable(text), printable(origin))
    if following:
        yield "try"
        yield from (f"  {line}" for line in following)


def _decided(text: str, origin: str) -> list[str]:
    line = f"  {text:<{_ORIGIN_COLUMN - 3}} {origin}"
    if len(text) <= _ORIGIN_COLUMN - 3 and len(line) <= COLUMNS:
        return [line.rstrip()]
    return [fold(f"  {text}", indent=4), f"    {origin}"]


# -- first: state, since when, what ends it --------------------------------------------------------


def _sentences(story: Story) -> Iterator[str]:
    what, then = _state(story)
    state = "in BACKOFF" if story.state == "backoff" else story.state.upper()
    yield fold(f"{story.name} is {state}{_since(story)}{what}", indent=0)
    if then:
        yield fold(then, indent=0)
    before = story.worker["pool"]
    for link in story.told.get("waits_for") or []:
        reason = f": {link['reason']}" if link.get("reason") else ""
        yield fold(f"  {before} -> {link['name']}   {link['state']}{reason}", indent=4)
        before = link["pool"]


def _since(story: Story) -> str:
    if story.is_job_at_rest:
        return ""  # when it is next is the question
    at = story.told.get("since")
    if at is None:
        kinds = {"stopped": ("worker.stopped",), "waiting": ("worker.waiting",)}
        event = story.latest(*kinds.get(story.state, ()))
        at = None if event is None else event.get("at")
    when = None if at is None else time_of(str(at))
    if when is None:
        return ""
    long_s = max(0.0, (story.now - when).total_seconds())
    day = when.astimezone().date()
    on = "" if day == story.now.astimezone().date() else f"{_day(day)} "
    pid = "" if story.worker.get("pid") is None else f", pid {story.worker['pid']}"
    return f" since {on}{when.astimezone():%H:%M:%S} ({format_duration(long_s)}{pid})"


def _state(story: Story) -> tuple[str, str]:
    """Return how the first sentence goes on, and the second one."""
    worker, name = story.worker, story.name
    match story.state:
        case "tripped":
            return _tripped(story)
        case "backoff":
            left_s = worker.get("next_start_in_s")
            again = "soon" if left_s is None else f"in {format_duration(left_s)}"
            failure = failure_of(story.latest("worker.failed", "worker.exited") or {})
            then = f"{failure.capitalize()}; it" if failure else "It"
            return f": {_last_end(story)}.", f"{then} starts again {again}."
        case "waiting" if story.is_job_at_rest:
            return _job(story)
        case "waiting":
            reason = str(worker.get("note") or (story.latest("worker.waiting") or {}).get("for"))
            begins = "it " if reason.startswith("requires ") else ""
            begins = "it comes " if reason.startswith("after ") else begins
            return f": {begins}{reason}.", ""
        case "stopped":
            return _stopped(story)
        case "exited":
            policy = f'restart "{story.policy.get("restart")}"'
            return f": {_last_end(story)}.", f'{policy} leaves it so until "start {name}".'
        case "starting":
            return ": it is not ready yet.", ""
        case "probing":
            return ": a start on trial.", "If it fails, its breaker opens again."
        case "stopping":
            return f": {worker.get('note') or 'it is on its way down'}.", ""
        case _:
            ends = ("worker.failed", "worker.exited", "worker.stopped", "worker.recycled")
            before = story.latest(*ends)
            told = " Before that:" if before is not None else ""
            return f".{told}", ""


def _job(story: Story) -> tuple[str, str]:
    following, _, rest = str(story.worker.get("note") or "").partition(", ")
    left_s = float(story.worker["next_start_in_s"])
    rest = f", {rest}" if rest else ""
    return f" for its schedule: {following} (in {format_duration(left_s)}){rest}.", ""


def _tripped(story: Story) -> tuple[str, str]:
    event = story.latest("worker.tripped") or {}
    number = event.get("failures", story.worker.get("failures_in_window") or 0)
    window = format_duration(float(story.policy.get("circuit_window_s") or 0.0))
    why = f"{count(int(number), 'failure')} in {window}, limit {story.worker['max_restarts']}"
    if event.get("reason"):
        why = f"{_last_end(story)}; {event['reason']}"
    left_s = story.worker.get("next_start_in_s")
    if left_s is not None:
        return f": {why}.", f"It is started on trial in {format_duration(left_s)}."
    until = f'until "reset {story.name}" or until its configuration changes'
    return f": {why}.", f"It stays down {until}."


def _stopped(story: Story) -> tuple[str, str]:
    event = story.latest("worker.stopped")
    down = f'It stays down until "start {story.name}".'
    if event is None:
        if story.policy.get("autostart") is False:
            return ": nobody has started it.", f"autostart is false. {down}"
        return ".", down
    if event.get("asked") == "shutdown":
        return ": the daemon ends.", ""
    return f": {asker_of(event) or 'somebody asked for it'}.", down


def _last_end(story: Story) -> str:
    """Return how its latest run ended: "exit 1 after 2s"."""
    event = story.latest("worker.failed", "worker.exited")
    if event is None:
        return str((story.worker.get("last_exit") or {}).get("reason") or "nobody saw how it ended")
    return end_of(event)


# -- second: the story -----------------------------------------------------------------------------


def _told(story: Story) -> Iterator[str]:
    day = story.now.astimezone().date()
    before: list[Event] = []
    for number, event in enumerate(story.events):
        if event.get("event") == "config.reloaded" and not _is_cause(story.events[number + 1 :]):
            continue
        told = line_of(event, before, story.policy)
        before.append(event)
        if told is None:
            continue
        when = time_of(str(event.get("at")))
        if when is not None and when.astimezone().date() != day:
            day = when.astimezone().date()
            yield f"{_day(day)}:"
        clock = "--:--:--" if when is None else f"{when.astimezone():%H:%M:%S}"
        yield from _row(clock, *told)


def _is_cause(after: list[Event]) -> bool:
    """Return whether what happened next came of a reload: nobody asked for it by hand."""
    following = next((e for e in after if "instance" in e), {})
    if following.get("event") == "worker.stopped":
        return following.get("asked") != "shutdown" and "by_uid" not in following
    return following.get("event") == "worker.reset" and following.get("reason") == "changed"


def _row(clock: str, word: str, text: str, right: str = "") -> list[str]:
    """Return one event: time, word, text, and at the right which failure it was."""
    head = f"{clock}  {word:<7}  "
    lines = textwrap.wrap(
        printable(text), COLUMNS - _TEXT_COLUMN, break_long_words=False, break_on_hyphens=False
    ) or [""]
    lines = [head + lines[0], *(f"{'':{_TEXT_COLUMN}}{line}" for line in lines[1:])]
    if right:
        if len(lines[-1]) >= _RIGHT_COLUMN:
            lines.append("")
        lines[-1] = f"{lines[-1]:<{_RIGHT_COLUMN}}{right}"
    return [line.rstrip() for line in lines]


# -- third and last: its words, and what to type ---------------------------------------------------


def _words(story: Story, last_words: list[dict[str, Any]]) -> Iterator[str]:
    for each in last_words:
        lines = [str(line) for line in each.get("lines") or [] if str(line).strip()]
        if each.get("name") != story.worker["name"] or not lines:
            continue
        ended = story.latest("worker.failed", "worker.exited") or {}
        yield f"last words of pid {ended['pid']}" if "pid" in ended else "last words"
        yield from (f"  {clip(line, COLUMNS - 2)}" for line in telling(lines, _MOST_WORDS))
        return


def _ways(story: Story, command: str) -> Iterator[str]:
    ended = (story.worker.get("last_exit") or {}).get("reason") or ""
    never_ran = str(ended).startswith(SPAWN_FAILED)
    match story.state:
        case "tripped" | "backoff" | "exited" if (story.worker.get("last_exit") or {}).get("ok"):
            return
        case "tripped" | "backoff" | "exited":
            if never_ran:
                yield clip(f"mend it: {ended.partition('): ')[2]}", COLUMNS - 2)
            else:
                yield f"{command} logs {story.name} -n 50"
            yield f"{command} {'reset' if story.state == 'tripped' else 'start'} {story.name}"
        case "stopped":
            yield f"{command} start {story.name}"
        case "waiting":
            chain = story.told.get("waits_for") or []
            if chain:
                yield f"{command} why {printable(str(chain[-1]['name']))}"
            if story.is_job_at_rest and (story.worker.get("last_exit") or {}).get("ok") is False:
                yield f"{command} logs {story.name} -n 50"
            if story.is_job_at_rest:
                yield f"{command} start {story.name}"
        case _:
            return


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
