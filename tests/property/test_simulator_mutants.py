"""What the simulator notices: the program, broken on purpose in one place at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import supervisord_lite
from tests.support.simulator.mutants import MUTANTS, Mutant

PACKAGE = Path(supervisord_lite.__file__).parent


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_a_change_of_one_place(mutant: Mutant) -> None:
    """A mutant whose text has gone is to be written anew for what does its work now."""
    assert (PACKAGE / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old


def test_there_are_enough_mutants() -> None:
    """Thirty at least, and each has a name of its own."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_noticed(mutant: Mutant) -> None:
    """A fault that no simulation notices is a check that is missing."""
    path = os.pathsep.join(each for each in sys.path if each)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.simulator.mutate", mutant.name],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{mutant.name}: {done.stdout} {done.stderr}"
    assert done.stdout.startswith("after ")
