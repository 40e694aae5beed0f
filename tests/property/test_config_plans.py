"""A plan is the difference of two configurations: no more, and no less."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from supervisord_lite.base.record import fields_of, replace
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.spec import Grant, Identity, Limit, LogTarget, Origin, Spec
from supervisord_lite.core.policy import BackoffPolicy, Rung
from supervisord_lite.core.recycle import Recycle
from tests.support.supervisor import a_spec

SHOP = Identity(1, 1, (1,), "shop", "/", "/bin/sh")
#: What holds only for a process that starts with it.
FOR_A_NEW_RUN: dict[str, list[Any]] = {
    "argv": [("true",), ("true", "-x")],
    "directory": ["/", "/srv"],
    "environment": [(), (("A", "1"),), (("A", None),), (("B", "1"), ("A", "2"))],
    "umask": [0o022, 0o077],
    "nice": [0, 5],
    "identity": [None, SHOP, replace(SHOP, groups=(1, 2)), replace(SHOP, user="www")],
    "rlimits": [(), (Limit("nofile", 10),), (Limit("nofile", None), Limit("core", 0))],
    "memory_bytes": [None, 1024],
    "cpu_cores": [None, 0.5],
    "pids": [None, 7],
    "capabilities": [None, (), ("CAP_KILL",), ("CAP_KILL", "CAP_NET_RAW")],
    "no_new_privs": [False, True],
}
LOGS: dict[str, list[Any]] = {
    "stdout": [LogTarget("inherit"), LogTarget("null"), LogTarget("file", "/a"),
               LogTarget("file", "/b"), LogTarget("journal")],
    "stderr": [LogTarget("stdout"), LogTarget("file", "/c"), LogTarget("inherit")],
    "log_max_size_bytes": [1, 2],
    "log_backups": [1, 2],
    "log_format": ["stamped", "json"],
}  # fmt: skip
LIVE: dict[str, list[Any]] = {
    "restart": ["always", "never"], "ok_exit_codes": [(0,), (0, 1)], "autostart": [True, False],
    "ready_after_s": [0.0, 1.0, 1.5], "start_timeout_s": [60.0, 61.0],
    "run_timeout_s": [None, 3.0], "stop_scope": ["leader", "tree"],
    "stop_ladder": [(Rung(15, 10.0),), (Rung(2, 10.0),), (Rung(2, 1.0), Rung(15, 2.0))],
    "stable_run_period_s": [30.0, 1.0], "max_restarts": [5, 6], "circuit_window_s": [600.0, 1.0],
    "circuit_cooldown_s": [None, 5.0],
    "backoff": [BackoffPolicy(), BackoffPolicy(jitter=False), BackoffPolicy(min_s=2.0)],
}  # fmt: skip


RECYCLES = [
    Recycle(), Recycle(memory_bytes=900 << 20), Recycle(age_s=86400.0, jitter=True),
    Recycle(age_s=60.0, jitter=7.5),
]  # fmt: skip


def choices(fields: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.sampled_from(those) for name, those in fields.items()})


@st.composite
def specs(draw: st.DrawFn, pool: str) -> Spec:
    launch = draw(choices(FOR_A_NEW_RUN)) | draw(choices(LOGS))
    spec = a_spec(pool, draw(st.sampled_from([1, 2])), launch=launch, **draw(choices(LIVE)))
    return replace(
        spec,
        origin=Origin("x.toml", draw(st.integers(1, 3))),
        requires=draw(st.sampled_from([(), ("a",)])),
        after=draw(st.sampled_from([(), ("a",)])),
        critical=draw(st.sampled_from(["no", "any", "all"])),
        singleton=draw(st.booleans()),
        operators=draw(st.sampled_from([(), (Grant("*"),)])),
        recycle=draw(st.sampled_from(RECYCLES)),
    )


def fleets() -> st.SearchStrategy[list[Spec]]:
    pools = st.lists(st.sampled_from("abcde"), unique=True)
    return pools.flatmap(lambda names: st.tuples(*(specs(name) for name in names)).map(list))


def needs_a_new_run(old: Spec, new: Spec) -> bool:
    """Say by fields what the plan says by keys."""
    was, now = fields_of(old.launch), fields_of(new.launch)
    was["environment"], now["environment"] = dict(was["environment"]), dict(now["environment"])
    if any(was[name] != now[name] for name in FOR_A_NEW_RUN):
        return True
    return any(
        was[name] != now[name] and not {was[name].kind, now[name].kind} <= {"file", "journal"}
        for name in ("stdout", "stderr")
    )


def in_order(spec: Spec) -> Spec:
    """Return *spec* without what has no effect: its place, and the order of its variables."""
    environment = tuple(sorted(spec.launch.environment, key=lambda item: item[0]))
    launch = replace(spec.launch, environment=environment)
    return replace(spec, origin=Origin("", 0), launch=launch)


@given(fleets(), fleets())
def test_a_plan_is_the_difference_of_two_configurations(old: list[Spec], new: list[Spec]) -> None:
    """Who is named differs, who is kept does not, and only what must be started anew is."""
    plan = make_plan(old, new)
    before, after = ({spec.pool: spec for spec in specs} for specs in (old, new))
    assert [spec.pool for spec in plan.added] == [pool for pool in after if pool not in before]
    assert [spec.pool for spec in plan.removed] == [pool for pool in before if pool not in after]
    both = [pool for pool in after if pool in before]
    named = {change.new.pool: change for change in plan.changed}
    assert sorted([*named, *plan.kept]) == sorted(both)
    for pool in both:
        assert (pool in named) == (in_order(before[pool]) != in_order(after[pool]))
    for pool, change in named.items():
        assert (change.effect == "restart") == needs_a_new_run(before[pool], after[pool])
        for key in change.keys:
            assert key.old != key.new


@given(fleets())
def test_a_configuration_does_not_differ_from_itself(specs: list[Spec]) -> None:
    """A reload of an unchanged file is nothing."""
    assert make_plan(specs, [replace(spec) for spec in specs]).is_empty
