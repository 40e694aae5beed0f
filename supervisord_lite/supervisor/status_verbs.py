"""The methods that only tell: how workers are, what they use, and where their output goes."""

import os
import resource
from collections.abc import Callable
from functools import partial

from supervisord_lite import __version__
from supervisord_lite.base.clock import Clock
from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.config.spec import Spec
from supervisord_lite.control import interface, parameters
from supervisord_lite.control.calls import Call
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.adoption import Handover
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.escalation import LastEscalation
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.generations import Generations
from supervisord_lite.supervisor.health import Health
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.in_vain import why_stuck
from supervisord_lite.supervisor.kept_status import KeptStatus
from supervisord_lite.supervisor.launch import log_places, outputs
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.loops import Loops
from supervisord_lite.supervisor.names import NoSuchWorkerError, resolve
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.places import Places
from supervisord_lite.supervisor.reload import Reloads
from supervisord_lite.supervisor.report import refusal_status
from supervisord_lite.supervisor.rolls import Rolls
from supervisord_lite.supervisor.samples import Samples
from supervisord_lite.supervisor.status import worker_status
from supervisord_lite.supervisor.twins import shown
from supervisord_lite.supervisor.words import Words, without_secrets
from supervisord_lite.wire import varlink

#: Of the keeper, for each worker's pipes; and for everything else.
_DESCRIPTORS_EACH = 3
_DESCRIPTORS_OURS = 64


class StatusVerbs:
    """Answers these calls; whether the peer may ask has been seen to."""

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        reloads: Reloads,
        handover: Handover,
        clock: Clock,
        logs: Logs,
        words: Words,
        rolls: Rolls,
        health: Health,
        samples: Samples,
        generations: Generations,
        loops: Loops,
        places: Places,
    ) -> None:
        """Take what is told of."""
        self._fleet = fleet
        self._daemon = daemon
        self._reloads = reloads
        self._handover = handover
        self._clock = clock
        self._logs = logs
        self._words = words
        self._rolls = rolls
        self._health = health
        self._samples = samples
        self._generations = generations
        self._loops = loops
        self._places = places
        self._last_escalation = LastEscalation(handover.saves.get("last_escalation"))
        self.kept = KeptStatus(fleet, self._told_now, self._common, rolls.outdated.has)
        words.on_changed = health.on_changed = generations.on_changed = self.kept.forget
        rolls.outdated.on_marked = self.kept.forget
        fleet.when_forgotten(self.kept.forget)

    def status(self, call: Call) -> None:
        """Answer how workers are, with what they use where that is asked for."""
        slots = resolve(self._fleet, parameters.names(call))
        if parameters.flag(call, "samples"):
            self._sampled(slots, partial(self._tell_status, call))
        else:
            self._tell_status(call)

    def states(self, call: Call) -> None:
        """Answer in which state workers are, by name."""
        slots = resolve(self._fleet, parameters.names(call))
        call.reply({"states": {self._fleet.name(slot): self._fleet.word(slot) for slot in slots}})

    def _sampled(self, slots: list[Slot], then: Callable[[], None]) -> None:
        """Call *then* when what *slots* use is known, or will not be."""
        if self._samples.are_fresh(slots):
            then()
        else:
            self._samples.ask(slots, then)

    def _tell_status(self, call: Call) -> None:
        try:
            slots = resolve(self._fleet, parameters.names(call))
        except NoSuchWorkerError as error:  # it has gone while its processes were looked at
            call.error(
                interface.NO_SUCH_WORKER, {"name": error.name, "suggestion": error.suggestion}
            )
            return
        call.reply_raw(self.answer(slots))

    def answer(self, slots: list[Slot]) -> bytes:
        """Return the answer to Status about these workers, as JSON."""
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        workers = self.kept.of(slots, now_s=now_s, wall_s=wall_s)
        about = {"now_s": now_s, "supervisor": self._supervisor(now_s, wall_s)}
        return varlink.with_list(about, "workers", workers)

    def scraped(self, slots: list[Slot]) -> dict[str, object]:
        """Return what is known now, and look anew at what they use, for whoever asks next."""
        self._sampled(slots, lambda: None)
        return self.whole(slots)

    def whole(self, slots: list[Slot]) -> dict[str, object]:
        """Return the answer to Status about these workers, with the latest samples of them."""
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        supervisor = self._supervisor(now_s, wall_s)
        return {"now_s": now_s, "supervisor": supervisor, "workers": self.of(slots)}

    def of(self, slots: list[Slot], *, with_twins: bool = False) -> list[dict[str, object]]:
        """Return how workers are, for the wire; *with_twins* also the runs beside some."""
        workers, twins = self._fleet.workers, self._fleet.twins if with_twins else {}
        return [
            self._told_now(slot, worker, is_outgoing)
            for slot in looking(slots, self._fleet.look)
            for worker, is_outgoing in shown(workers[slot], twins.get(slot))
        ]

    def _told_now(self, slot: Slot, worker: Worker, is_outgoing: bool) -> dict[str, object]:
        spec = self._fleet.spec(slot[0])
        return worker_status(
            spec,
            worker,
            usage=self._samples.of(slot, worker.run),
            now_s=self._clock.now_s(),
            wall_s=self._clock.wall_s(),
            controllers=self._handover.controllers,
            output=self._output(spec, slot[1]),
            words=self._said(slot, worker.run),
            by_hand=self._reloads.in_force.by_hand.get(slot[0]),
            stuck=why_stuck(self._fleet, slot),
            generation=self._generations.of(slot, worker.run),
            is_outdated=self._is_outdated(slot),
            is_outgoing=is_outgoing,
        )

    def _is_outdated(self, slot: Slot) -> bool:
        return self._rolls.outdated.has(slot) and not self._rolls.is_rolling(slot[0])

    def _common(self) -> tuple[object, ...]:
        """Return what is told of many workers comes from: see `KeptStatus`."""
        fleet, by_hand = self._fleet, self._reloads.in_force.by_hand
        return (fleet.specs, fleet.settings, by_hand, self._logs.changes, self._samples.changes)

    def _said(self, slot: Slot, run: int) -> str:
        """Return what is said of a run: how its probe fares, else its own words."""
        spec, settings = self._fleet.spec(slot[0]), self._fleet.settings
        own = without_secrets(self._words.of(slot, run), spec, slot[1], settings)
        return self._health.note(slot, run) or own

    def _supervisor(self, now_s: float, wall_s: float) -> dict[str, object]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "keeper_pid": self._handover.keeper_pid,
            "state": self._daemon.word,
            "started_at": rfc3339(wall_s - (now_s - self._handover.started_at_s)),
            "generation": self._reloads.in_force.generation,
            "config_files": self._reloads.in_force.files,
            "config_errors": refusal_status(self._reloads.refusal),
            "config": self._fleet.settings.config_path,
            "warnings": [
                *self._last_escalation.warnings(now_s - self._handover.started_at_s),
                *self._places.warnings(),
                *self._warnings(),
            ],
            "last_escalation": self._last_escalation.shown,
            "loops": self._loops.told(),
        }

    def _warnings(self) -> list[str]:
        processes = len(self._fleet.workers)
        wanted = processes * _DESCRIPTORS_EACH + _DESCRIPTORS_OURS
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit >= wanted:
            return []
        return [f"{processes} processes may need {wanted} descriptors; the limit is {limit}"]

    def _output(self, spec: Spec, index: int) -> dict[str, object]:
        places = log_places(spec, index, self._fleet.settings)
        return self._logs.output(*outputs(spec, index), places)

    def log_files(self, call: Call) -> None:
        """Answer where the output of workers can be read."""
        files = []
        for slot in resolve(self._fleet, parameters.names(call)):
            stdout, stderr = log_places(self._fleet.spec(slot[0]), slot[1], self._fleet.settings)
            files.append({"name": self._fleet.name(slot), "stdout": stdout, "stderr": stderr})
        call.reply({"files": files})
