"""Taking over: from the keeper's handover to a fleet that goes on as if nothing had happened."""

import json
from typing import Any

from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.clock import Clock, Rng
from supervisord_lite.base.give_back import give_back
from supervisord_lite.base.memory_files import memory_content
from supervisord_lite.base.record import record
from supervisord_lite.config.spec import settings_from_json, spec_from_json
from supervisord_lite.core import events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.gone import FLOOR
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.twins import runs_of


@record
class Handover:
    """What the keeper says of itself and keeps for us.

    Attributes:
        applied: Number of the last fact that a supervisor had applied.
        facts: Those after it.
        inventory: Runs of which something may be alive.
        adoption: How many supervisors there were before.
        controllers: Which of cpu, memory, pids are enforced by cgroups.
        dropped: Log path -> (bytes, lines) dropped since the daemon started.
        troubles: Log path -> why nothing can be written there now.
        cgroup_runs: The folder that holds a cgroup for each run; None: there are none.
        protocol: That the keeper speaks (wire/channel.py).
        keeper_version: Of its code; empty: it does not say.
        fell_back: Why it has put the code before in force again (keeper/upgrade.py); empty: it
            has not.
        places: Path -> why what must stand there cannot be made again (keeper/places.py).
        takes_lines: It understands several messages in one memory file (`channel.IN_LINES`).
    """

    saves: dict[str, str]
    applied: int
    facts: list[dict[str, object]]
    inventory: list[dict[str, Any]]
    keeper_pid: int
    started_at_s: float
    adoption: int
    has_cgroups: bool
    controllers: list[str]
    dropped: dict[str, list[int]]
    troubles: dict[str, str]
    cgroup_runs: str | None = None
    protocol: int = 1
    keeper_version: str = ""
    fell_back: str = ""
    places: dict[str, str] | None = None
    takes_lines: bool = False

    def forget(self) -> None:
        """Everybody has taken over what concerns him: half of a supervisor's memory is free."""
        self.saves.clear()
        self.facts.clear()
        self.inventory.clear()
        give_back()


def read_handover(descriptor: int) -> dict[str, Any]:
    """Return what is in the memfd that the keeper filled; close it."""
    said: dict[str, Any] = json.loads(memory_content(descriptor))
    CALLS.close(descriptor)
    return said


def protocol_of(said: dict[str, Any]) -> int:
    """Return which protocol a keeper speaks that says this; the first one did not tell."""
    return int(said.get("protocol", 1))


def handover_of(said: dict[str, Any]) -> Handover:
    """Return what a keeper says; it may be of a version before this one, or after it.

    A package is replaced while the daemon runs, and then a supervisor dies: so a field that comes
    to be here needs a default, and one that is not known is left out.
    """
    return Handover(**{name: said[name] for name in Handover.__annotations__ if name in said})


def build_fleet(handover: Handover, outbox: Outbox, clock: Clock, rng: Rng) -> Fleet:
    """Make the fleet from the saved specs and put every saved worker back."""
    settings = settings_from_json(handover.saves["settings"])
    specs = [
        spec_from_json(handover.saves[f"spec/{pool}"])
        for pool in json.loads(handover.saves["pools"])
    ]
    fleet = Fleet(settings, specs, outbox, clock, rng)
    records, gone = _saved_workers(handover.saves)
    former = [
        spec_from_json(text)
        for key, text in handover.saves.items()
        if key.startswith("spec/") and key.removeprefix("spec/") not in fleet.specs
    ]
    leaving = [slot for slot in records if slot not in fleet.workers]
    fleet.expect(former, leaving, gone, int(handover.saves.get(FLOOR, "0")))
    for slot, text in records.items():
        if slot in fleet.workers:
            fleet.restore(slot, text)
    return fleet


def _saved_workers(saves: dict[str, str]) -> tuple[dict[Slot, str], dict[Slot, int]]:
    """Return the records of workers, and the latest run of those that were forgotten."""
    records: dict[Slot, str] = {}
    gone: dict[Slot, int] = {}
    for key, text in saves.items():
        if key.startswith("worker/"):
            _, pool, index = key.split("/")
            if text.startswith('{"gone"'):
                gone[pool, int(index)] = json.loads(text)["gone"]
            else:
                records[pool, int(index)] = text
    return records, gone


def reconcile(fleet: Fleet, handover: Handover) -> None:
    """After the facts are replayed: ask again for what the keeper has never heard of.

    A run that the replay itself has begun is none of these: its request is still on its way.
    """
    alive = {(run["pool"], run["index"], run["run"]) for run in handover.inventory}
    for slot, worker in list(fleet.workers.items()):
        restored = fleet.restored.get(slot, ())
        for run in runs_of(worker, fleet.twins.get(slot)):
            if run in restored and (*slot, run) not in alive and slot in fleet.workers:
                fleet.feed_guarded(slot, events.Lost(run))
    for pool, index, run in alive:
        if (pool, index) in fleet.unusable:
            fleet.kill((pool, index), run)
    fleet.wake_all()
