"""Whatever a reload says fits into one answer, and names everybody."""

from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.spec import MAX_PROCESSES, Origin, Spec
from supervisord_lite.control.connection import MAX_OUTPUT_BYTES
from supervisord_lite.supervisor.changeover import Touched
from supervisord_lite.supervisor.reload import Done, Refusal
from supervisord_lite.supervisor.report import refusal_report, reload_report
from supervisord_lite.wire import varlink
from tests.support.supervisor import Daemon, a_spec

FAR = Origin("\u00e9" * 4000, 7)


def report(old: list[Spec], new: list[Spec], warnings: str = "") -> dict[str, Any]:
    """Return the answer to a reload, once it is known to fit."""
    done = Done(make_plan(old, new), Touched(0, 0, 0, 0), is_dry=False, warnings=warnings,
                generation=2, alive={})  # fmt: skip
    told = reload_report(done)
    assert len(varlink.reply(told)) < MAX_OUTPUT_BYTES
    return told


def with_variables(pool: str, **environment: str) -> Spec:
    return a_spec(pool, launch={"environment": tuple(environment.items())})


def test_a_plan_of_long_values_is_told_whole() -> None:
    """Hundreds of workers whose large variable changes: each is shown by its ends."""
    names = [f"w{number}" for number in range(300)]
    told = report(
        [with_variables(name, X="a" * 60_000) for name in names],
        [with_variables(name, X="\0" * 60_000) for name in names],
    )
    assert [entry["pool"] for entry in told["modified"]] == names
    assert all(entry["keys"] and entry["origin"] for entry in told["modified"])
    assert told["warnings"] == ""


@pytest.mark.slow
def test_the_largest_plans_name_everybody() -> None:
    """What does not fit is left out, and that is said."""
    names = [f"{number:0100}" for number in range(MAX_PROCESSES)]
    base = a_spec("x", launch={"environment": ()})
    far = replace(base, origin=FAR)
    told = report(
        [replace(base, pool=f"o{name[1:]}") for name in names],
        [replace(far, pool=name) for name in names],
        warnings="w" * 100_000 + "\n7 warnings",
    )
    assert [entry["pool"] for entry in told["added"]] == names
    assert len(told["removed"]) == MAX_PROCESSES
    assert "\n7 warnings\nwarning: this is too much for one answer: of " in told["warnings"]

    other = replace(far, launch=replace(far.launch, environment=(("X" * 200, "y"),)))
    told = report(
        [replace(base, pool=name) for name in names],
        [replace(other, pool=name) for name in names],
    )
    shown = [entry for entry in told["modified"] if entry["keys"]]
    assert [entry["pool"] for entry in told["modified"]] == names
    assert 0 < len(shown) < MAX_PROCESSES
    left_out = MAX_PROCESSES - len(shown)
    assert told["warnings"].startswith("warning: this is too much for one answer")
    assert f" of {left_out:,} workers " in told["warnings"]


def test_a_refusal_fits_too() -> None:
    """The first errors, and how many there are in all."""
    problem = {"file": "x", "line": 1, "column": 1, "message": "\u00e9" * 10_000}
    message = "\u00e9" * 1_000_000 + "1,000 errors in 1 file."
    refusal = Refusal(message, (problem,) * 1000, "now", 1000)
    daemon = Daemon(a_spec("web"))
    try:
        told: dict[str, Any] = refusal_report(refusal, daemon.supervisor._reloads)
    finally:
        daemon.close()
    assert len(varlink.error("x.Refused", told)) < MAX_OUTPUT_BYTES
    assert told["message"].endswith("\u00e91,000 errors in 1 file.")
    assert 10 < len(told["problems"]) < 1000
