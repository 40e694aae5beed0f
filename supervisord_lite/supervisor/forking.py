"""What the keeper is asked for a run that is a fork, and for the server that it is forked from."""

import json
from collections.abc import Iterable
from typing import cast

from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.spec import Settings, Spec
from supervisord_lite.supervisor.launch import (
    BOOT,
    identity_request,
    output_request,
    printed_name,
    privileges_request,
)

Request = dict[str, object]


def is_forked(spec: Spec) -> bool:
    """Return whether the runs of a pool are forks of a warm interpreter.

    One process without anything to import first is started quicker by itself.
    """
    python = spec.launch.python
    return python is not None and (spec.pool_size > 1 or bool(python.preload))


def server_request(
    spec: Spec, index: int, number: int, settings: Settings, targets: Iterable[str] = ()
) -> Request:
    """Return how a server is described to the keeper.

    Args:
        spec: Of a pool that it is for.
        index: Of an instance of it.
        number: Its generation.
        settings: Where output is kept that goes to the journal.
        targets: What it tries to import before it is ready.
    """
    launch = spec.launch
    directory = instance_text(launch.directory, index)
    process = _process(spec, directory)
    tried = list(targets)
    if tried:
        process["argv"] = [*cast("list[str]", process["argv"]), "--", *tried]
    return {
        "id": server_id(spec, index, number),
        "name": spec.pool,
        **process,
        "directory": directory,
        "stdout": output_request(spec, launch.stdout, index, settings),
        "stderr": output_request(spec, launch.stderr, index, settings, is_stderr=True),
        "timeout_s": spec.policy.start_timeout_s,
    }


def _process(spec: Spec, directory: str) -> Request:
    """Return what a server is, wherever its output goes."""
    launch, python = spec.launch, spec.launch.python
    assert python is not None
    return {
        "argv": [python.interpreter, BOOT, "warm", directory, *python.preload],
        "environment": _shared_environment(spec),
        "umask": launch.umask,
        "identity": identity_request(launch),
        "privileges": privileges_request(launch),
    }


def server_id(spec: Spec, index: int, number: int) -> str:
    """Return by what the keeper knows a server: instances in different folders have their own."""
    directory = spec.launch.directory
    is_one = instance_text(directory, 1) == instance_text(directory, 2)
    return str(number) if is_one else f"{number}.{index}"


def server_ids(spec: Spec, number: int) -> list[str]:
    """Return the ids of all servers of a pool."""
    ids = (server_id(spec, index, number) for index in range(1, spec.pool_size + 1))
    return list(dict.fromkeys(ids))


def server_key(spec: Spec) -> str:
    """Return what two pools must have alike to be forked from one server."""
    request = _process(spec, instance_text(spec.launch.directory, 1))
    same = ("argv", "environment", "umask", "identity", "privileges")
    return json.dumps([spec.launch.directory, *(request[name] for name in same)])


def _shared_environment(spec: Spec) -> list[tuple[str, str | None]]:
    """Return the variables that are the same for all instances."""
    return [
        (name, None if value is None else instance_text(value, 1))
        for name, value in spec.launch.environment
        if value is None or instance_text(value, 1) == instance_text(value, 2)
    ]


def can_be_tried(spec: Spec) -> bool:
    """Return whether a target finds in a server all that it finds in its own process.

    What reads a secret, or a variable of its instance, when it is imported would fail there only.
    """
    return not spec.launch.secrets and len(_shared_environment(spec)) == len(
        spec.launch.environment
    )


def title(spec: Spec, index: int) -> str:
    """Return what `ps` shows of a run, behind its interpreter."""
    python = spec.launch.python
    assert python is not None
    return f"{printed_name(spec, index)} {python.target}"
