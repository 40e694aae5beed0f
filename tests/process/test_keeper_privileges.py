"""What a process may when the keeper has started it: read back by the process itself."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base.capabilities import NAMES
from tests.support.keeper import Household, a_household, request

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

NOBODY = pwd.getpwnam("nobody")
IDENTITY = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid, "groups": [NOBODY.pw_gid], "user": "nobody"}
BIND = 1 << NAMES.index("CAP_NET_BIND_SERVICE")


@pytest.fixture
def house() -> Iterator[Household]:
    with a_household() as it:
        yield it


def log() -> dict[str, Any]:
    return {"to": "log", "stream": {"path": "/log", "max_size": 0, "backups": 0}}


def kept(*names: str, no_new_privs: bool = False) -> dict[str, Any]:
    return {"capabilities": list(names), "no_new_privs": no_new_privs}


def status_of(house: Household, name: str) -> dict[str, int]:
    """Return what stands in the status of a run that has shown it: sets, and the flag."""
    assert house.fact(name, "exited")["code"] == 0, house.facts(name)
    (stream,) = house.run_of(name).streams
    lines = os.read(stream.descriptor, 65536).decode().splitlines()
    said = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    sets = {key[3:]: int(value, 16) for key, value in said.items() if key.startswith("Cap")}
    return {**sets, "NoNewPrivs": int(said["NoNewPrivs"])}


def ask(house: Household, name: str, **more: Any) -> dict[str, int]:
    house.ask(request(name, "cat", "/proc/self/status", stdout=log(), **more))
    return status_of(house, name)


def test_a_user_has_what_is_kept_and_can_get_no_more(house: Household) -> None:
    """Ambient, so that a plain program has it; in none of the five sets is anything else."""
    said = ask(house, "a", identity=IDENTITY, privileges=kept("CAP_NET_BIND_SERVICE"))

    sets = ("Prm", "Eff", "Inh", "Amb", "Bnd")
    assert {key: said[key] for key in sets} == dict.fromkeys(sets, BIND)
    assert said["NoNewPrivs"] == 0


def test_root_has_what_is_kept_behind_every_exec(house: Household) -> None:
    """Root gets back what the bounding set has, and no more."""
    argv = ("sh", "-c", "exec cat /proc/self/status")
    house.ask(request("a", *argv, stdout=log(), privileges=kept("CAP_NET_BIND_SERVICE")))
    said = status_of(house, "a")
    none = ask(house, "b", privileges=kept(no_new_privs=True))

    assert (said["Prm"], said["Eff"], said["Bnd"], said["Inh"]) == (BIND, BIND, BIND, 0)
    assert [none[key] for key in ("Prm", "Eff", "Inh", "Amb", "Bnd")] == [0] * 5
    assert none["NoNewPrivs"] == 1


def test_who_says_nothing_has_what_it_always_had(house: Household) -> None:
    """Root what the daemon has; a user none, and setuid programs work for him."""
    words = Path("/proc/self/status").read_text().split()
    own = int(words[words.index("CapBnd:") + 1], 16)
    root = ask(house, "a", rlimits=[["core", 0]])
    user = ask(house, "b", identity=IDENTITY)
    closed = ask(house, "c", identity=IDENTITY, privileges={"no_new_privs": True})

    assert root["Prm"] == root["Bnd"] == own
    assert (user["Prm"], user["Amb"], user["Bnd"], user["NoNewPrivs"]) == (0, 0, own, 0)
    assert (closed["Prm"], closed["NoNewPrivs"]) == (0, 1)


def test_a_capability_that_nobody_has_is_a_start_that_never_heals(house: Household) -> None:
    """Its stage and its name are told; nothing was started."""
    house.ask(request("a", "true", identity=IDENTITY, privileges=kept("CAP_OF_TOMORROW")))

    fact = house.fact("a", "spawn_failed")

    assert (fact["stage"], fact["hopeless"]) == ("capabilities", True)
    assert fact["reason"] == "CAP_OF_TOMORROW: not known here"
