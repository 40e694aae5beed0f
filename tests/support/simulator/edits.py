"""The configuration file of a simulation: who edits it, and who reads it for the supervisor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from supervisord_lite.base.record import replace
from supervisord_lite.config.loading import Loaded, Refused
from supervisord_lite.config.spec import Configuration, LogTarget, Origin, Settings, Spec
from supervisord_lite.core.pools import Pool
from tests.support.simulator.drawn import Chance, a_policy, a_spec, can_be_well

_NAMES = ("a", "b", "c", "d", "e")
#: A reading that does not answer is given up after so long.
_LIMIT_S = 31.0


class Around(Protocol):
    """What a reading needs of the world around it."""

    rng: Chance
    is_calm: bool
    specs_of_file: list[Spec] | None

    def at(self, in_s: float, happen: Callable[..., None], *about: object) -> None:
        """Let something happen later."""

    def wake_supervisor(self) -> None:
        """There is something for the supervisor to read."""

    def on_judged(self, reading: SimulatedReading) -> None:
        """The supervisor hears what is in the file."""


class SimulatedReading:
    """A child that reads the file: for the supervisor what `Loading` is.

    Attributes:
        number: Place among all that happens: what was asked before it has a lower one.
        is_real: Somebody wants what it reads to be put in force.
        specs: What it has read; None: nothing good.
        has_news: `receive` has something to take.
    """

    def __init__(
        self, world: Around, settings: Settings, number: int, now_s: float, *, is_real: bool
    ) -> None:
        self.number = number
        self.is_real = is_real
        self.specs: list[Spec] | None = None
        self.has_news = False
        self.answer: Loaded | Refused | None = None
        self.unwritten = ""
        self.is_over = False
        self.deadline_s = now_s + _LIMIT_S
        self._world = world
        self._settings = settings
        self._came: Loaded | Refused | None = None
        world.at(world.rng.choice((0.0, 0.01, 2.0)), self._read)

    def _read(self) -> None:
        rng = self._world.rng
        draw = 1.0 if self._world.is_calm else rng.random()
        if draw < 0.05:
            return  # a disk that does not answer
        specs = self._world.specs_of_file
        self._came = Refused("exit 1 before it had answered" if draw < 0.1 else "bad.toml:1")
        if specs is not None and draw >= 0.1:
            self.specs = specs
            configuration = Configuration(self._settings, tuple(specs))
            self._came = Loaded(configuration, "", ("x.toml",), {"/x.toml": str(self.number)})
        self._world.at(rng.choice((0.0, 0.01, 1.0)), self._tell)

    def _tell(self) -> None:
        self.has_news = True
        self._world.wake_supervisor()

    def fileno(self) -> int:
        """Return a number that no other reading has."""
        return self.number

    def receive(self, now_s: float) -> None:
        """Take what has come."""
        self.has_news = False
        if self.answer is None:
            if self._came is None or now_s >= self.deadline_s:
                self._came, self.specs = Refused("it did not answer"), None
            self.answer = self._came
            self.is_over = isinstance(self.answer, Refused)
            self._world.on_judged(self)
        else:
            self.is_over = True  # it has written, or has ended without

    def put_in_force(self, settings: Settings, *, now_s: float) -> None:
        """Write, which may take its time, or never end."""
        del settings
        self.deadline_s = now_s + _LIMIT_S
        draw = self._world.rng.random()
        self.is_over = draw < 0.5
        if 0.5 < draw < 0.9:
            self.unwritten = "" if draw < 0.7 else "disk full"
            self._world.at(self._world.rng.choice((0.0, 0.1, 5.0)), self._tell)

    def dismiss(self) -> None:
        """Nothing more to do."""
        self.is_over = True

    def close(self) -> None:
        """Let go of nothing."""

    def has_ended(self) -> bool:
        """Return whether it has: the kernel keeps nothing of it."""
        return True


def with_logs(spec: Spec, rng: Chance) -> Spec:
    """Return *spec* with a log file; several instances have one each."""
    part = "-%i" if spec.pool_size > 1 or rng.random() < 0.3 else ""
    stdout = LogTarget("file", f"/log/{rng.choice('xyz')}/{spec.pool}{part}.log")
    if rng.random() < 0.2:
        stdout = LogTarget("inherit")
    return replace(spec, launch=replace(spec.launch, stdout=stdout))


def a_file_spec(name: str, rng: Chance) -> Spec:
    """Return a spec as a file may have it."""
    return with_logs(_plain(a_spec(Pool(name), rng)), rng)


def _plain(spec: Spec) -> Spec:
    """Return it without what no file can say; of one name always as many may be away."""
    policy = spec.policy
    if policy.ready_by != "alive":
        ready_by = "alive" if policy.ready_by == "said" else policy.ready_by
        policy = replace(policy, ready_by=ready_by, ready_after_s=1.0)
    place = "abcde".index(spec.pool)
    surge = (0, 1, 2, 0, 1)[place]
    return replace(
        spec, policy=policy, max_unavailable=1 + place % 2 - (surge > 0), max_surge=surge
    )


def edited(specs: Sequence[Spec], rng: Chance) -> list[Spec]:
    """Return a file with a few valid changes."""
    file = list(specs)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(file))
        kind = rng.choice(_KINDS)
        if kind == "add":
            free = [name for name in _NAMES if all(name != each.pool for each in file)]
            if free:
                file.insert(place, a_file_spec(rng.choice(free), rng))
        elif kind == "remove":
            if len(file) > 1:
                del file[place]
        elif kind == "order":
            rng.shuffle(file)
        elif kind == "ties":
            file = _tied(file, rng)
        else:
            file[place] = _changed(file[place], kind, rng)
        names = {spec.pool for spec in file}
        file = [_without_strangers(spec, names) for spec in file]
    return file


_KINDS = (
    "policy", "max_restarts", "run_timeout", "ladder", "program", "program", "log", "size", "size",
    "size", "add", "remove", "order", "ties", "comment", "autostart", "singleton",
)  # fmt: skip


def _changed(spec: Spec, kind: str, rng: Chance) -> Spec:
    policy = spec.policy
    match kind:
        case "policy":
            policy = a_policy(rng, may_be_job=spec.critical == "no")
            while spec.critical != "no" and not can_be_well(policy):
                policy = a_policy(rng)
        case "max_restarts":
            policy = replace(policy, max_restarts=rng.randint(1, 6))
        case "run_timeout" if spec.critical == "no":
            policy = replace(policy, run_timeout_s=rng.choice((None, 4.0, 40.0)))
        case "ladder":
            policy = replace(policy, stop_ladder=a_policy(rng).stop_ladder)
        case "autostart":
            policy = replace(policy, autostart=not policy.autostart)
        case "program":
            return replace(spec, launch=replace(spec.launch, argv=(rng.choice("pqrs"),)))
        case "log":
            return with_logs(spec, rng)
        case "size" if not spec.singleton:
            sized = replace(spec, pool_size=rng.choice((1, 2, 3)))
            return with_logs(sized, rng) if sized.pool_size > 1 else sized
        case "comment":
            return replace(spec, origin=Origin("x", rng.randint(1, 99)))
        case "singleton" if spec.pool_size == 1:
            return replace(spec, singleton=not spec.singleton)
        case _:
            return spec
    return _plain(replace(spec, policy=policy))


def _tied(file: list[Spec], rng: Chance) -> list[Spec]:
    """Let some wait for others, never in a circle."""
    order = [spec.pool for spec in file]
    rng.shuffle(order)
    tied = []
    for spec in file:
        ahead = order[: order.index(spec.pool)]
        kinds = {other: rng.choice(("requires", "after", "")) for other in ahead}
        tied.append(
            replace(
                spec,
                requires=tuple(each for each in ahead if kinds[each] == "requires"),
                after=tuple(each for each in ahead if kinds[each] == "after"),
            )
        )
    return tied


def _without_strangers(spec: Spec, names: set[str]) -> Spec:
    requires = tuple(each for each in spec.requires if each in names)
    after = tuple(each for each in spec.after if each in names)
    if (requires, after) == (spec.requires, spec.after):
        return spec
    return replace(spec, requires=requires, after=after)
