"""What holds for every test: nothing is left behind, and CI does not skip for want of a service."""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import leftovers

# How long an example takes says how busy the machine is, and nothing about what is tested.
settings.register_profile(
    "ours", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("ours")

broken_off: list[bool] = []
IN_CI = os.environ.get("CI", "") not in ("", "0", "false")
Reports = Generator[None, pytest.TestReport, pytest.TestReport]
CollectReports = Generator[None, pytest.CollectReport, pytest.CollectReport]


def pytest_configure() -> None:
    """Let a SIGTERM (a time limit of somebody's) run the clean-up of all fixtures.

    A job in the background of a script has SIGINT ignored, one under nohup SIGHUP, and so would the
    commands whose answer to these is tested.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    leftovers.turn_sigterm_into_an_end(lambda: pytest.exit("ended by SIGTERM", returncode=143))


def pytest_keyboard_interrupt() -> None:
    """Remember that the run was broken off: what it leaves is then cleared away in silence."""
    broken_off.append(True)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Generator[leftovers.Session]:
    """Fail the run with the names of the processes, cgroups, mounts, loops and ports left over."""
    session = leftovers.Session(tmp_path_factory.getbasetemp())
    yield session
    left = session.end()
    if left and not broken_off:
        lines = "\n  ".join(left)
        pytest.fail(f"the tests left behind:\n  {lines}", pytrace=False)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a skip for a missing service ("needs ...") a failure where everything must be there."""
    if not (IN_CI and report.skipped and isinstance(report.longrepr, tuple)):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason.startswith("needs "):
        report.outcome = "failed"
        report.longrepr = f"in CI nothing may be missing, but this test {reason}"


def _shorten_summary(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Let the summary at the end show one line of a failure; above it stands the whole."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = crash.message.partition("\n")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Reports:
    """Judge the skips of tests and fixtures."""
    report = yield
    _refuse_skip(report)
    _shorten_summary(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> CollectReports:
    """Judge the skips of whole files."""
    report = yield
    _refuse_skip(report)
    return report
