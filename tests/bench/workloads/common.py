"""What several workloads share. A workload takes a contender that runs nothing yet, and a size.

It returns figures (names end in their unit) and raises AssertionError when the work itself was not
done right: a fast supervisor that loses a line or starts a command twice has no figures at all.
"""

from collections.abc import Callable, Collection

from tests.bench.contender import Command, Contender

Figures = dict[str, float]
Workload = Callable[[Contender, int], Figures]

BIRTHS_S = 120.0
#: No contender holds back the restart of a command that has lived for longer than a second.
LIVED_S = 1.2


def name_of(index: int) -> str:
    """Return the name of command number *index*, from 0."""
    return f"b{index:04d}"


def a_command(contender: Contender, index: int, *mode: str, logged: bool = False) -> Command:
    """Return a command that stamps its birth and does what *mode* says (child.c)."""
    name = name_of(index)
    argv = (*contender.natives.child, str(contender.births.path), name, *mode)
    return Command(name, argv, logged)


def sleepers(contender: Contender, count: int) -> list[Command]:
    """Return *count* commands that stamp their birth and sleep."""
    return [a_command(contender, index) for index in range(count)]


def bring_up(
    contender: Contender,
    commands: list[Command],
    *,
    quiet_s: float = 0.3,
    others: Collection[str] = (),
) -> None:
    """Start *commands*, and wait until each is born, *others* too, and the contender is at rest."""
    contender.start(commands)
    names = [command.name for command in commands]
    contender.births.wait_names([*names, *others], timeout_s=BIRTHS_S)
    contender.rest(quiet_s)
