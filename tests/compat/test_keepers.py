"""What a keeper of another version has packed is gone on with: one takes the place of the other."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
#: Builds a keeper of each state, says which are refused, and what one of them packs in its turn.
TRY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.keeper.entrance import try_out
for line in sys.stdin:
    if os.fork() == 0:  # each has the numbers of descriptors to itself
        memory = memory_file(line.encode())
        try:
            answer = {"packed": try_out(memory)}
        except Exception as error:
            answer = {"refused": repr(error)}
        print(json.dumps(answer), flush=True)
        os._exit(0)
    os.wait()
"""
#: Without one of these there is nothing to go on with.
NEEDED = {
    "succession", "descriptors", "boot", "journal", "table", "runs",
    "boot.name", "boot.log_style", "boot.log_level", "boot.remove", "boot.events", "boot.locks",
    "boot.listener", "boot.nofile_soft", "boot.scribe_memory", "journal.descriptor",
    "runs.cgroups.base", "runs.cgroups.made_base", "runs.cgroups.workers", "runs.cgroups.procs",
}  # fmt: skip


def tried(*states: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what comes of each state, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", TRY, str(CHECKOUT)],
        input="".join(json.dumps(state) + "\n" for state in states),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def state() -> dict[str, Any]:
    """Return what the first keeper packed: with all that can be under way, some by hand."""
    said: dict[str, Any] = json.loads((HERE / "keeper_1.json").read_text())
    return said


def test_the_first_keeper_is_understood_and_nothing_of_it_is_lost(state: dict[str, Any]) -> None:
    """What is unpacked and packed again is the same; what a later version adds is left out."""
    (answer,) = tried({**state, "of_a_later_version": [1]})
    packed = answer["packed"]
    for each in (state, packed):
        each["descriptors"].sort()
        each["runs"]["known"].sort()
        del each["began_s"], each["former"]
    assert packed["boot"].pop("places") == []
    for server in packed["runs"]["servers"]["all"]:
        assert server.pop("takes_cgroup") is False
    assert packed == state


def test_only_what_nobody_can_do_without_must_be_there(state: dict[str, Any]) -> None:
    """Everything else has a default, so that older keepers and newer ones take turns."""
    places = list(_places(state, 3))
    answers = tried(*(_without(state, place) for place in places))
    pairs = zip(places, answers, strict=True)
    refused = {".".join(place) for place, answer in pairs if "refused" in answer}
    # Runs are named in other parts, and a stream in runs.
    assert refused - {"runs.all", "runs.streams", "runs.streams.open"} == NEEDED


def test_a_state_of_another_form_is_refused_with_both_numbers(state: dict[str, Any]) -> None:
    """Nobody guesses what it means."""
    (answer,) = tried({**state, "succession": 2})
    assert "is of form 2, not 1" in answer["refused"]


def _places(said: dict[str, Any], depth: int) -> Iterator[tuple[str, ...]]:
    for name, value in said.items():
        yield (name,)
        if depth > 1 and isinstance(value, dict):
            yield from ((name, *below) for below in _places(value, depth - 1))


def _without(said: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    name, *below = place
    if not below:
        return {key: value for key, value in said.items() if key != name}
    return {**said, name: _without(said[name], tuple(below))}
