"""Reloads: one at a time, read by a child, changed over in one step.

::

    SIGHUP, Reload ──▶ asked ──▶ Loading (a child reads the file) ──▶ plan ──▶ change_over ──▶ told
                         ▲                                             │
                         └── whoever asks meanwhile waits for one more ┘

* Where forks of a warm interpreter are to be replaced, their new code is loaded between two
  readings (`generations.py`); that is a part of the one that is under way.
* However many ask while one is read, they cost one more; and each is told of a file that was read
  after they had asked.
* A signal has nobody who could ask again, so what it asked for is saved until it is done.
* A refused file changes nothing. It is remembered, and shown, until a reload finds a good one.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.errand import is_about_version
from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.base.record import fields_of, record
from supervisord_lite.config.loading import Loaded, Loading, Refused
from supervisord_lite.config.plan import Plan, make_plan
from supervisord_lite.config.spec import Settings, to_json
from supervisord_lite.supervisor import garbage
from supervisord_lite.supervisor.changeover import (
    Sized,
    Touched,
    alive_of,
    change_over,
    settings_in_force,
    sized,
    touched,
)
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.generations import Generations, NotBuilt
from supervisord_lite.supervisor.in_force import InForce
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.rolls import Rolls
from supervisord_lite.supervisor.sizes import Sizes

#: Supervisors that may die while a file is read before it is left alone.
_MOST_TRIES = 3
#: Children that were given up and still have not ended: more would hang as they do.
_MOST_HUNG = 8


@record
class Refusal:
    """Why a file is not in force.

    Attributes:
        message: As people read it; the last line says that nothing changed.
        problems: As `Refused.problems`.
        at: RFC 3339 UTC, of the first refusal since the last good file.
        found: How many errors there are in all.
    """

    message: str
    problems: tuple[dict[str, Any], ...]
    at: str
    found: int = 0

    @property
    def first(self) -> str:
        """Return the first error in one line."""
        for problem in self.problems:
            if "message" in problem:
                # Line 0: it is about the whole file.
                line = f":{problem['line']}" if problem["line"] else ""
                return f"{problem['file']}{line}: {problem['message']}"
        return self.message.partition("\n")[0]

    @property
    def count(self) -> int:
        """Return how many errors there are; 1 where the file could not be judged."""
        return max(1, self.found, len(self.problems))


@record
class Done:
    """A file was good.

    Attributes:
        plan: What changed, or would.
        touched: How many processes that touches.
        is_dry: Nothing was changed.
        warnings: As people read them; empty: none.
        generation: That is in force now.
        alive: How many processes of a changed pool run on untouched.
    """

    plan: Plan
    touched: Touched
    is_dry: bool
    warnings: str
    generation: int
    alive: Mapping[str, int]


#: Told what came of it, once, before the flush that makes it true.
Answer = Callable[[Done | Refusal], None]
#: The answer, whether it is dry, and who asked.
_Asked = tuple[Answer, bool, Mapping[str, object]]


class Reading(Protocol):
    """What `Loading` is to us."""

    answer: Loaded | Refused | None
    unwritten: str
    is_over: bool
    deadline_s: float

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""

    def receive(self, now_s: float) -> None:
        """Take what has come."""

    def put_in_force(self, settings: Settings, *, now_s: float) -> None:
        """Let it be written down."""

    def dismiss(self) -> None:
        """Let it go."""

    def close(self) -> None:
        """Let go of the descriptor."""

    def has_ended(self) -> bool:
        """Return whether nothing of it is left to be waited for; never waits."""


class StartLoading(Protocol):
    """Begins to read the file."""

    def __call__(self, path: str, *, environ: dict[str, str], now_s: float) -> Reading:
        """Return what reads it.

        Raises:
            OSError: No process could be started.
        """


class Reloads:
    """What is asked for, and what is under way.

    Attributes:
        in_force: What the last one brought.
        sizes: Sizes that people set, between one and the next.
        refusal: Of the file on the disk, the last time that it was read; None: it was good.
    """

    def __init__(
        self,
        fleet: Fleet,
        rolls: Rolls,
        daemon: DaemonState,
        poller: Poller,
        saves: dict[str, str],
        clock: Clock,
        log: Callable[..., None],
        generations: Generations,
        *,
        start_loading: StartLoading = Loading,
    ) -> None:
        """Take over what an earlier supervisor had saved.

        Args:
            fleet: To be changed.
            rolls: Replace the instances of a pool.
            daemon: Tells systemd.
            poller: Waits for the child.
            saves: What the keeper kept.
            clock: Now.
            log: Takes lines.
            generations: Of the code that pools have loaded.
            start_loading: Starts the child.
        """
        self._fleet = fleet
        self._rolls = rolls
        self._daemon = daemon
        self._poller = poller
        self._clock = clock
        self._log = log
        self._generations = generations
        #: Pool -> the number that was built for it while the file is read again.
        self._built: dict[str, int] | None = None
        self._is_building = False
        #: Has told its part; what it said is read again by another one.
        self._dismissed: Reading | None = None
        #: Of the answer that is judged: plans of ten thousand workers are not made twice.
        self._planned: tuple[Loaded, Sized, Plan] | None = None
        self._start_loading = start_loading
        self._environ: dict[str, str] = json.loads(saves.get("environment", "{}"))
        self.in_force = InForce(fleet.outbox, saves)
        self.sizes = Sizes(fleet, rolls, self.in_force)
        refused = json.loads(saves.get("refused", "null"))
        self.refusal = None if refused is None else Refusal(**refused)
        self._loading: Reading | None = None
        self._hung: list[Reading] = []
        self._asked: list[_Asked] = []
        self._next: list[_Asked] = []
        self._meanwhile: list[Callable[[], None]] = []
        self._tries = int(saves.get("reload_wanted", "0"))
        self._was_signalled = self._tries > 0

    # -- asking ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """After an adoption: go on with what a signal had asked for, unless that is what kills."""
        if self._tries >= _MOST_TRIES:
            reason = f"{self._tries} supervisors died at it"
            self._log("error", "config.not_reloaded", reason=reason)
            self._fleet.outbox.save("reload_wanted", None)
            self._was_signalled = False
        elif self._was_signalled and self._loading is None:
            self._want()

    def _want(self) -> None:
        self._tries += 1
        self._fleet.outbox.save("reload_wanted", str(self._tries), first=True)
        self._was_signalled = True
        self._ask(_nobody, is_dry=False, by={"by": "SIGHUP"})

    def signalled(self) -> None:
        """SIGHUP."""
        if self._daemon.is_stopping:
            self._log("warning", "config.not_reloaded", reason="the daemon is stopping")
            return
        self._tries = 0
        self._want()

    def ask(self, answer: Answer, *, is_dry: bool, by: Mapping[str, object] | None = None) -> None:
        """Read the file again, and answer when it is in force or refused.

        Args:
            answer: Called once, from the loop.
            is_dry: Only tell what would change.
            by: Who asks, as events tell it.
        """
        self._ask(answer, is_dry=is_dry, by=by or {})

    def _ask(self, answer: Answer, *, is_dry: bool, by: Mapping[str, object]) -> None:
        self._next.append((answer, is_dry, by))
        if self._loading is None and not self._is_building:
            self._begin_next()

    def _begin_next(self) -> None:
        self._asked, self._next = self._next, []
        if not all(is_dry for _, is_dry, _ in self._asked):
            self._daemon.begin_reload(self._clock.now_s())
        self._read()

    def _read(self) -> None:
        path = self._fleet.settings.config_path
        self._reap()
        if len(self._hung) >= _MOST_HUNG:
            count = f"{len(self._hung)} processes that were to read it before have not ended"
            self._refused(Refused(f"{path}: could not be read: {count}"))
            return
        try:
            self._loading = self._start_loading(
                path, environ=self._environ, now_s=self._clock.now_s()
            )
        except OSError as error:
            message = f"{path}: could not be read: no process for it: {error.strerror}"
            self._refused(Refused(message))
            return
        garbage.hold()
        self._poller.watch(self._loading.fileno(), readable=self._receive)

    def when_read(self, do: Callable[[], None]) -> None:
        """Call *do* now; or, while a file is being read, when what it said is in force."""
        if self._asked:
            self._meanwhile.append(do)
        else:
            do()

    # -- the child ---------------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""
        return None if self._loading is None else self._loading.deadline_s

    def expire(self, now_s: float) -> None:
        """Give up a child that does not answer; reap those that have ended since they were."""
        self._reap()
        if self._loading is not None and now_s >= self._loading.deadline_s:
            self._receive()

    def _reap(self) -> None:
        if self._hung:
            self._hung = [loading for loading in self._hung if not loading.has_ended()]

    def _receive(self) -> None:
        loading = self._loading
        assert loading is not None
        loading.receive(self._clock.now_s())
        if loading.answer is not None and self._asked and loading is not self._dismissed:
            self._judged(loading, loading.answer)
        if loading.is_over:
            self._poller.unwatch(loading.fileno())
            loading.close()
            self._hung.append(loading)  # until it is seen to have ended
            self._loading = self._dismissed = None
            if loading.unwritten:
                self._log("warning", "config.not_written", reason=loading.unwritten)
            if self._is_building:
                return
            if self._asked:
                self._read()
            elif self._next:
                self._begin_next()

    def _judged(self, loading: Reading, answer: Loaded | Refused) -> None:
        if isinstance(answer, Loaded) and not answer.configuration.specs and self._fleet.specs:
            # A file that is just being written begins like that; nobody means to end everything so.
            loading.dismiss()
            answer = Refused(
                f"{self._fleet.settings.config_path}: there is no worker in the file any more.\n"
                "If that is meant: supervisord-lite stop all, or supervisord-lite shutdown."
            )
        if isinstance(answer, Refused):
            self._refused(answer)
            return
        is_dry = all(is_dry for _, is_dry, _ in self._asked)
        if not is_dry and self._daemon.is_stopping:
            is_dry = True  # nothing undoes a shutdown; whoever asked is told what there was
        if not is_dry and self._built is None and self._must_build(answer):
            self._dismissed = loading
            loading.dismiss()
            return
        self._good(answer, is_dry=is_dry)
        if is_dry:
            loading.dismiss()
        else:
            loading.put_in_force(self._fleet.settings, now_s=self._clock.now_s())

    def _must_build(self, answer: Loaded) -> bool:
        """Have the code of changed pools loaded before anything is stopped.

        Then the file is read again: a child waits no longer than it takes to read one.
        """
        _, plan = self._plan(answer)
        changed = [change.new for change in plan.changed if change.effect == "restart"]
        self._is_building = True
        came_at_once = []

        def done(came: dict[str, int] | NotBuilt) -> None:
            self._is_building = False
            came_at_once.append(came)
            self._built_all(came)

        self._generations.build(changed, done)
        # With nothing to build it goes on as it is.
        return not came_at_once

    def _built_all(self, came: dict[str, int] | NotBuilt) -> None:
        if isinstance(came, NotBuilt):
            self._refused(Refused(f"{came.message}\nNothing was changed."))
            if self._loading is None and self._next:
                self._begin_next()
            return
        self._built = came
        if came and self._loading is None:
            self._read()

    def _good(self, answer: Loaded, *, is_dry: bool) -> None:
        fleet = self._fleet
        found, plan = self._plan(answer)
        specs, warnings = found.specs, answer.warnings
        if found.dropped:
            lines = (f"warning: {why}" for why in found.dropped.values())
            warnings = "\n".join([*filter(None, [warnings]), *lines])
        settings = answer.configuration.settings
        generation = self.in_force.generation + (not is_dry)
        done = Done(plan, touched(fleet, plan), is_dry, warnings, generation, alive_of(fleet, plan))
        if not is_dry:
            self.refusal = None
            fleet.settings = settings_in_force(fleet.settings, settings)
            self._renew(plan)
            change_over(fleet, self._rolls, plan, specs)
            fleet.outbox.save("settings", to_json(fleet.settings))
            of_file = {spec.pool: spec for spec in answer.configuration.specs}
            since = rfc3339(self._clock.wall_s())
            self.in_force.put(dict(answer.digests), since, found.by_hand, of_file)
            fleet.outbox.save("refused", None)
            for pool, why in found.dropped.items():
                self._log("warning", "scale.dropped", pool=pool, reason=why)
            touched_counts = fields_of(done.touched)
            self._log(
                "info", "config.reloaded", generation=generation, **touched_counts, **self._by()
            )
        self._end(done)

    def _plan(self, answer: Loaded) -> tuple[Sized, Plan]:
        if self._planned is None or self._planned[0] is not answer:
            fleet, configuration = self._fleet, answer.configuration
            found = sized(answer.configuration.specs, self.in_force.by_hand)
            settings = fleet.settings, configuration.settings
            plan = make_plan(fleet.specs.values(), found.specs, settings, look=fleet.look)
            self._planned = (answer, found, plan)
        return self._planned[1:]

    def _renew(self, plan: Plan) -> None:
        """Let whoever is started anew have the code that was built for it, or that of the disk."""
        for spec in plan.removed:
            self._generations.forget(spec.pool)
        for change in plan.changed:
            if change.effect == "restart":
                self._generations.forget(change.new.pool)
        staying = {change.new.pool for change in plan.changed}
        built = self._built or {}
        self._generations.put({pool: built[pool] for pool in built if pool in staying})
        self._built = None

    def _refused(self, refused: Refused) -> None:
        at = self.refusal.at if self.refusal else rfc3339(self._clock.wall_s())
        refusal = Refusal(refused.message, refused.problems, at, refused.count)
        if not all(is_dry for _, is_dry, _ in self._asked):
            if not is_about_version(refusal.first):  # that says nothing of the file
                self.refusal = refusal
                self._save_refusal()
            about = {"errors": refusal.count, "reason": refusal.first}
            self._log("error", "config.refused", **about, **self._by())
        self._end(refusal)

    def _by(self) -> Mapping[str, object]:
        """Return who asked first for what was not dry."""
        return next((by for _, is_dry, by in self._asked if not is_dry), {})

    def _save_refusal(self) -> None:
        assert self.refusal is not None
        # Only what `status` shows: the whole may be larger than a message.
        shown = {
            "message": self.refusal.first[:2000],
            "problems": [],
            "at": self.refusal.at,
            "found": self.refusal.count,
        }
        self._fleet.outbox.save("refused", json.dumps(shown))

    def _end(self, came: Done | Refusal) -> None:
        asked, self._asked = self._asked, []
        self._built = self._planned = None
        garbage.settle()
        if not all(is_dry for _, is_dry, _ in asked):
            self._daemon.end_reload()
        if self._was_signalled and not any(answer is _nobody for answer, _, _ in self._next):
            self._was_signalled = False
            self._fleet.outbox.save("reload_wanted", None)
        for answer, _, _ in asked:
            answer(came)
        meanwhile, self._meanwhile = self._meanwhile, []
        for do in meanwhile:
            do()


def _nobody(_came: Done | Refusal) -> None:
    """Answer a signal."""
