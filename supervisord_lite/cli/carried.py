"""What `run` finds of a keeper that died without a verdict: see supervisor/carry.py."""

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from supervisord_lite.base.record import record
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.secret_digests import unsealed
from supervisord_lite.config.spec import Spec, spec_from_json
from supervisord_lite.core.carry import carried_over, is_worth_carrying
from supervisord_lite.core.records import from_record, to_record
from supervisord_lite.core.scale import ScaledByHand
from supervisord_lite.core.states import Stopped, Tripped, Worker
from supervisord_lite.scribe.note_child import write_whole
from supervisord_lite.supervisor.carry import FILE_NAME, VERSION
from supervisord_lite.supervisor.changeover import sized
from supervisord_lite.supervisor.in_force import by_hand_text
from supervisord_lite.supervisor.outbox import record_text

_MOST_BYTES = 256 * 1024 * 1024
#: Services that may begin with the same file before it is left alone.
_MOST_TRIES = 3


@record
class Carried:
    """What the daemon begins with.

    Attributes:
        specs: With the sizes in force.
        saves: What an adopted supervisor would find, beside the specs.
        warnings: For people, one line each.
    """

    specs: list[Spec]
    saves: dict[str, str]
    warnings: list[str]


#: What reading a file that is damaged may end with: its numbers and lists may be anything.
DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


def read_carried(state_dir: str, token: str, boot: str) -> dict[str, Any] | None:
    """Return what the last keeper left; None: it left nothing, or of another boot.

    What is not its is removed; what is, stays until something else is in force.

    Args:
        state_dir: Where the file stands.
        token: Of that keeper's life; empty: not known.
        boot: The boot's id.

    Raises:
        ValueError: It is damaged, or no file of ours.
    """
    path = Path(state_dir, FILE_NAME)
    try:
        found = _read(path)
        if found is not None and _is_usable(path, found, token, boot):
            return found
    except (KeyError, TypeError, RecursionError) as error:
        message = f"{path}: damaged: {error!r}"
        raise ValueError(message) from None
    remove_carried(state_dir)
    return None


def _is_usable(path: Path, found: dict[str, Any], token: str, boot: str) -> bool:
    if not token or found["token"] != token or found["boot_id"] != boot:
        return False
    if found["tries"] >= _MOST_TRIES:
        message = f"{path}: {found['tries']} services in a row did not outlive it"
        raise ValueError(message)
    return True


def remove_carried(state_dir: str) -> None:
    """Let there be no file, if it can be removed."""
    with contextlib.suppress(OSError):
        Path(state_dir, FILE_NAME).unlink()


def count_try(state_dir: str, found: dict[str, Any]) -> int:
    """Return how often services have begun with *found*, this time included; note it, if can be."""
    tries: int = found["tries"] + 1
    with contextlib.suppress(OSError):
        write_whole(f"{state_dir}/{FILE_NAME}", {**found, "tries": tries})
    return tries


def _read(path: Path) -> dict[str, Any] | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ValueError(message) from None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            message = f"{path}: is not a file of ours"
            raise ValueError(message)
        found = json.loads(file.read(_MOST_BYTES))
    if not isinstance(found, dict) or found.get("v") != VERSION:
        message = f"{path}: not of this version"
        raise ValueError(message)
    return found


def carry_over(found: dict[str, Any], specs: tuple[Spec, ...]) -> Carried:
    """Return what *found* means for the workers of *specs*.

    Args:
        found: As `read_carried` returned it.
        specs: As the file has them now.

    Raises:
        DAMAGED: It is.
    """
    by_hand = {pool: ScaledByHand(*sizes) for pool, sizes in found["sizes"].items()}
    in_force = sized(specs, by_hand)
    of_file = {spec.pool: spec for spec in specs}
    workers = _workers(found, {spec.pool: spec for spec in in_force.specs})
    saves = {
        f"worker/{worker.pool}/{worker.index}": record_text(0, to_record(worker))
        for worker in workers
    }
    hands = in_force.by_hand
    if hands:
        saves["by_hand"] = by_hand_text(hands, of_file)
    if hands or workers:
        told = {
            "tripped": sum(isinstance(worker.state, Tripped) for worker in workers),
            "stopped": sum(worker.state == Stopped(by_hand=True) for worker in workers),
            "scaled": len(hands),
        }
        saves["restored"] = json.dumps(told)
    return Carried(in_force.specs, saves, list(in_force.dropped.values()))


def _workers(found: dict[str, Any], specs: dict[str, Spec]) -> list[Worker]:
    # Digests of secrets were made with that daemon's key, and say nothing to this one.
    former = [unsealed(spec_from_json(text)) for text in found["specs"].values()]
    changes = make_plan(former, map(unsealed, specs.values())).changed
    others = {change.new.pool for change in changes if change.is_other_program}
    workers = []
    for each in found["records"]:
        spec = specs.get(each["pool"])
        if spec is None or not 1 <= each["index"] <= spec.pool_size:
            continue
        saved = from_record(each, spec.policy)
        worker = carried_over(saved, spec.policy, is_other_program=spec.pool in others)
        if is_worth_carrying(worker):
            workers.append(worker)
    return workers
