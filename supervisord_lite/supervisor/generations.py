"""Which forkserver the next runs of a pool come from: generations of imported code.

Theory of operation
===================

A forkserver (keeper/forkservers.py) has imported code, and every run that is forked from it runs
that code, whatever has happened to the files since. So each has a number, its *generation*, and a
pool has the number that its next runs come from. The keeper does not know numbers: each request
says which server it wants, and the keeper builds what is not there.

=============================  ====================================================================
the pool                       its number
=============================  ====================================================================
starts for the first time      a new one; pools that start together and have interpreter, user,
                               folder, environment and imports alike share it
has a run that failed          the same: a crash starts what had been running
is restarted, or changed by a  a new one, *built before anything is stopped*: when its imports fail,
reload so that it must be      the old one stays, and nobody was touched
has nothing that runs, nor     none: what is started then is what is on the disk then
will by itself
=============================  ====================================================================

A server whose number no pool has ends as soon as nobody waits for it. Numbers are saved before the
requests that follow from them; a new supervisor finds them again. Builds under way are nobody's
yet: whoever asked for one asks again when the supervisor dies, and the keeper is told that the old
one is not needed.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from supervisord_lite.base.record import record
from supervisord_lite.config.spec import Spec
from supervisord_lite.core import actions
from supervisord_lite.core.states import Exited, State, Stopped, Stopping, Tripped, Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.forking import (
    can_be_tried,
    is_forked,
    server_id,
    server_ids,
    server_key,
    server_request,
    title,
)
from supervisord_lite.supervisor.outbox import Outbox, Request, Slot

_KEY = "generation/"
_RUN = "forked/"
_LATEST = "generation"
_SHOWN_LINES = 12


@record
class NotBuilt:
    """A new forkserver could not get ready; the old one goes on.

    Attributes:
        pool: For which one it was.
        reason: In one line.
        lines: Of the traceback; may be empty.
    """

    pool: str
    reason: str
    lines: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """Return all of it, for people."""
        head = f"{self.pool}: the new code cannot be loaded: {self.reason}"
        shown = self.lines[-_SHOWN_LINES:]
        return "\n".join([head, *(f"  {line}" for line in shown)])


#: Told what came of a build: pool -> its new number, or why there is none.
Built = Callable[[dict[str, int] | NotBuilt], None]


class _Build:
    """Servers that are being built for somebody."""

    __slots__ = ("done", "ids", "numbers", "waiting")

    def __init__(self, numbers: dict[str, int], waiting: dict[str, str], done: Built) -> None:
        self.numbers = numbers
        self.waiting = waiting  # id -> pool, of those that are not ready
        self.ids = tuple(waiting)
        self.done = done


class Generations:
    """Numbers of pools, and builds under way.

    Attributes:
        on_changed: Told of each slot whose runs come from another generation now.
    """

    def __init__(
        self,
        fleet: Fleet,
        outbox: Outbox,
        saves: Mapping[str, str],
        log: Callable[..., None],
    ) -> None:
        """Take over what an earlier supervisor had saved.

        Args:
            fleet: Whose runs they are.
            outbox: Takes saves and requests.
            saves: What the keeper kept.
            log: Takes lines.
        """
        self.on_changed: Callable[[Slot], None] = lambda _slot: None
        self._fleet = fleet
        self._outbox = outbox
        self._log = log
        self._latest = int(saves.get(_LATEST, "0"))
        self._numbers = {
            key.removeprefix(_KEY): int(text)
            for key, text in saves.items()
            if key.startswith(_KEY) and key.removeprefix(_KEY) in fleet.specs
        }
        # Run -> number, of the two latest runs: two may live while one takes over from the other.
        self._forked: dict[Slot, dict[int, int]] = {}
        for key, text in saves.items():
            if key.startswith(_RUN):
                _, pool, index = key.split("/")
                self._forked[pool, int(index)] = dict(json.loads(text))
        #: Key of a server -> its number, of those that this turn has drawn.
        self._drawn: dict[str, int] = {}
        self._builds: list[_Build] = []
        self._is_untold = True
        fleet.complete = self._complete
        fleet.listen(self._stepped)
        fleet.when_forgotten(self._forget_run)

    def of(self, slot: Slot, run: int) -> int | None:
        """Return the generation that a run came from; None: it is no fork."""
        return self._forked.get(slot, {}).get(run)

    # -- starting ----------------------------------------------------------------------------------

    def _complete(self, slot: Slot, request: Request) -> None:
        """Say in a spawn request which server the run comes from."""
        pool, index = slot
        spec = self._fleet.spec(pool)
        if not is_forked(spec):
            self._forget_run(slot)
            return
        number = self._numbers.get(pool)
        if number is None:
            number = self._draw(spec)
            self.put({pool: number})
        request["server"] = server_request(spec, index, number, self._fleet.settings)
        request["title"] = title(spec, index)
        run = request["run"]
        assert isinstance(run, int)
        before = self._forked.get(slot, {})
        self._forked[slot] = {**dict(list(before.items())[-1:]), run: number}
        self.on_changed(slot)
        text = json.dumps(list(self._forked[slot].items()))
        self._outbox.save_beside(slot, f"{_RUN}{pool}/{index}", text)

    def _forget_run(self, slot: Slot) -> None:
        if self._forked.pop(slot, None) is not None:
            self.on_changed(slot)
            self._outbox.save_beside(slot, f"{_RUN}{slot[0]}/{slot[1]}", None)

    def _draw(self, spec: Spec) -> int:
        key = server_key(spec)
        if key not in self._drawn:
            self._latest += 1
            self._drawn[key] = self._latest
            self._outbox.save(_LATEST, str(self._latest), first=True)
        return self._drawn[key]

    def put(self, numbers: Mapping[str, int]) -> None:
        """Let the next runs of pools come from these generations."""
        for pool, number in numbers.items():
            self._numbers[pool] = number
            self._outbox.save(_KEY + pool, str(number), first=True)
        self._is_untold = True

    def forget(self, pool: str) -> None:
        """Let the next run of a pool come from what is on the disk then."""
        if self._numbers.pop(pool, None) is not None:
            self._outbox.save(_KEY + pool, None)
            self._is_untold = True

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[actions.Announce, ...]
    ) -> None:
        del told, before
        for run in (after, self._fleet.twins.get(slot)):
            if run is not None and _is_unborn(run.state):
                self._cancel(slot, run.run)
        is_down = isinstance(after.state, Stopped | Exited | Tripped)
        if is_down and slot[0] in self._numbers and self._is_down(slot[0], slot):
            self.forget(slot[0])

    def _cancel(self, slot: Slot, run: int) -> None:
        """Somebody does not want a start any more that may wait for imports."""
        if self.of(slot, run) is not None:
            about: Request = {"do": "cancel", "pool": slot[0], "index": slot[1], "run": run}
            self._outbox.request(slot, about)

    def _is_down(self, pool: str, known: Slot) -> bool:
        workers = self._fleet.workers
        if any(slot[0] == pool for slot in self._fleet.twins):
            return False
        return all(
            slot == known or isinstance(workers[slot].state, Stopped | Exited | Tripped)
            for slot in self._fleet.slots(pool)
            if slot in workers
        )

    # -- building ----------------------------------------------------------------------------------

    def build(self, specs: Iterable[Spec], done: Built) -> None:
        """Have new servers ready for pools; whoever has none, or nothing that lives, needs none.

        Args:
            specs: As they will be in force.
            done: Called once, perhaps at once; `put` what it is given.
        """
        self._drawn = {}
        waiting: dict[str, str] = {}
        wanted = [spec for spec in specs if self._is_served(spec)]
        numbers = {spec.pool: self._draw(spec) for spec in wanted}
        targets: dict[int, dict[str, None]] = {}
        for spec in wanted:
            assert spec.launch.python is not None
            tried = targets.setdefault(numbers[spec.pool], {})
            if can_be_tried(spec):
                tried[spec.launch.python.target] = None
        for spec in wanted:
            number = numbers[spec.pool]
            for slot in self._fleet.places(spec.pool):
                name = server_id(spec, slot[1], number)
                if name not in waiting and slot[1] <= spec.pool_size:
                    waiting[name] = spec.pool
                    # Each with its own worker's record: together they may not fit into a message.
                    settings = self._fleet.settings
                    about = server_request(spec, slot[1], number, settings, targets[number])
                    self._outbox.request(slot, {"do": "build", "server": about})
        self._drawn = {}
        if not waiting:
            done(numbers)
            return
        self._builds.append(_Build(numbers, waiting, done))
        self._is_untold = True

    def _is_served(self, spec: Spec) -> bool:
        """Return whether processes of a pool live that a server is for."""
        slots = [slot for slot in self._fleet.slots(spec.pool) if slot in self._fleet.workers]
        return is_forked(spec) and bool(slots) and not self._is_down(spec.pool, ("", 0))

    def take(self, message: Mapping[str, Any]) -> None:
        """Take what the keeper says of servers."""
        for name, about in message.get("servers", {}).items():
            self._say(name, about)
            for build in list(self._builds):
                if name in build.waiting:
                    self._go_on(build, name, about)

    def _go_on(self, build: _Build, name: str, about: Mapping[str, Any]) -> None:
        pool = build.waiting.pop(name)
        came: dict[str, int] | NotBuilt = build.numbers
        if about["state"] != "ready":
            came = NotBuilt(pool, str(about["reason"]), tuple(map(str, about.get("lines", ()))))
        elif build.waiting:
            return
        self._builds.remove(build)
        self._is_untold = True
        build.done(came)

    def _say(self, name: str, about: Mapping[str, Any]) -> None:
        pools = " ".join(self._pools_of(name))
        fields: dict[str, object] = {"pools": pools, "generation": name}
        if about["state"] == "ready":
            fields["took_s"] = round(about["took_s"], 3)
            fields["rss_mb"] = about["rss_bytes"] >> 20
            self._log("info", "forkserver.ready", pid=about["pid"], **fields)
            for text in about["warnings"]:
                self._log("warning", "forkserver.warned", **fields, reason=text)
        elif about["state"] == "failed":
            reason = about["reason"]
            self._log("error", "forkserver.failed", **fields, stage=about["stage"], reason=reason)
        else:
            self._log("warning", "forkserver.ended", **fields, reason=about["reason"])

    def _pools_of(self, name: str) -> list[str]:
        number = int(name.partition(".")[0])
        built = (build.numbers for build in self._builds)
        return [
            pool
            for pool in self._fleet.specs
            if any(each.get(pool) == number for each in (self._numbers, *built))
        ]

    def tell(self) -> None:
        """Tell the keeper which servers are needed, where that has changed."""
        self._drawn = {}
        if not self._is_untold:
            return
        self._is_untold = False
        ids = [
            name
            for pool, number in self._numbers.items()
            if pool in self._fleet.specs
            for name in server_ids(self._fleet.specs[pool], number)
        ]
        ids += [name for build in self._builds for name in build.ids]
        self._outbox.say("servers", list(dict.fromkeys(ids)))


def _is_unborn(state: State) -> bool:
    """Return whether a run is to end of which nobody has heard that it has begun."""
    is_to_end = isinstance(state, Stopping) and state.exited_at_s is None
    return is_to_end and getattr(state, "spawned_at_s", None) is None
