"""What `run` finds of the plans of an earlier service: see supervisor/plan_file.py."""

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from supervisord_lite.config.spec import Spec
from supervisord_lite.supervisor.plan_file import FILE_NAME, VERSION

_MOST_BYTES = 64 * 1024 * 1024


def read_plans(state_dir: str, specs: Iterable[Spec]) -> str | None:
    """Return the plans of jobs whose missed runs are wanted, as they are saved; None: no plans.

    A file that nobody wants is removed.

    Args:
        state_dir: Where the file stands.
        specs: In force.

    Raises:
        ValueError: It is damaged, or no file of ours.
    """
    path = Path(state_dir, FILE_NAME)
    wanted = {
        spec.pool
        for spec in specs
        if spec.policy.schedule is not None and spec.policy.schedule.missed == "once"
    }
    try:
        if not wanted:
            path.unlink(missing_ok=True)
            return None
        data = _read(path)
    except OSError as error:
        message = f"{path}: {error}"
        raise ValueError(message) from None
    try:
        found = None if data is None else json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"{path}: damaged: {error}"
        raise ValueError(message) from None
    if found is None:
        return None
    if not isinstance(found, dict) or found.get("v") != VERSION:
        message = f"{path}: not of this version"
        raise ValueError(message)
    plans = found.get("plans")
    if not isinstance(plans, dict) or not all(map(_is_plan, plans.values())):
        message = f"{path}: damaged"
        raise ValueError(message)
    kept = {key: plan for key, plan in plans.items() if key.partition("/")[0] in wanted}
    return json.dumps(kept) if kept else None


def _is_plan(plan: object) -> bool:
    if not isinstance(plan, dict):
        return False
    text, settled_s = plan.get("plan"), plan.get("settled_s")
    is_time = isinstance(settled_s, int | float) and 0 <= settled_s < 1e12
    return isinstance(text, str) and is_time


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            message = f"{path}: is not a file of ours"
            raise ValueError(message)
        return file.read(_MOST_BYTES)
