"""What `run` finds of a keeper that died without a verdict: see supervisor/carry.py."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from supervisord_lite.base.record import record
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.spec import Spec, spec_from_json
from supervisord_lite.core.carry import carried_over, is_worth_carrying
from supervisord_lite.core.records import from_record, to_record
from supervisord_lite.core.scale import ScaledByHand
from supervisord_lite.core.states import Stopped, Tripped, Worker
from supervisord_lite.supervisor.carry import FILE_NAME, VERSION, boot_id
from supervisord_lite.supervisor.changeover import sized
from supervisord_lite.supervisor.in_force import by_hand_text
from supervisord_lite.supervisor.outbox import record_text

_MOST_BYTES = 256 * 1024 * 1024


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


def take_carried(state_dir: str, token: str) -> dict[str, Any] | None:
    """Take away what the last keeper left; None: it left nothing, or of another boot.

    Args:
        state_dir: Where the file stands.
        token: Of that keeper's life; empty: not known.

    Raises:
        ValueError: It is damaged; it has been taken away all the same.
    """
    path = Path(state_dir, FILE_NAME)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            is_ours = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()
            data = file.read(_MOST_BYTES) if is_ours else b"null"
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ValueError(message) from None
    found = json.loads(data)
    if not isinstance(found, dict) or found.get("v") != VERSION:
        message = f"{path}: not of this version"
        raise ValueError(message)
    is_of_last = bool(token) and found.get("token") == token
    return found if is_of_last and found.get("boot_id") == boot_id() else None


def carry_over(found: dict[str, Any], specs: tuple[Spec, ...]) -> Carried:
    """Return what *found* means for the workers of *specs*.

    Args:
        found: As `take_carried` returned it.
        specs: As the file has them now.

    Raises:
        ValueError, KeyError, TypeError: It is damaged.
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
    former = [spec_from_json(text) for text in found["specs"].values()]
    changes = make_plan(former, specs.values()).changed
    others = {change.new.pool for change in changes if change.is_other_program}
    workers = []
    for each in found["records"]:
        spec = specs.get(each["pool"])
        if spec is None or each["index"] > spec.pool_size:
            continue
        saved = from_record(each, spec.policy)
        worker = carried_over(saved, spec.policy, is_other_program=spec.pool in others)
        if is_worth_carrying(worker):
            workers.append(worker)
    return workers
