"""One real systemd for all tests of this folder, and the product installed in it."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.daemon import CHECKOUT, clean_environment
from tests.support.systemd import Machine, what_is_missing

UNIT = "supervisord-lite.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"


@pytest.fixture(scope="session")
def systemd_machine() -> Generator[Machine]:
    """Boot a systemd; skip where that is impossible."""
    missing = what_is_missing()
    if missing:
        pytest.skip(missing)
    machine = Machine()
    yield machine
    machine.close()


def install_command(machine: Machine, python: str) -> None:
    """Write the command as pip does; the path is that of a checkout that is not installed."""
    path = clean_environment().get("PYTHONPATH", "")
    paths = [path] if path else []
    if python != sys.executable:
        # Another interpreter sees what this one has installed.
        paths = [str(CHECKOUT), *(each for each in sys.path if each.endswith("site-packages"))]
    command = (
        f"#!{python}\nimport sys\nsys.path[:0] = {paths}\n"
        "from supervisord_lite.cli import main\nsys.exit(main())\n"
    )
    machine.write("/usr/bin/supervisord-lite", command, mode=0o755)


@pytest.fixture
def installed(systemd_machine: Machine) -> Generator[Machine]:
    """Install the product's unit and command as a package would; the test writes the file."""
    install_command(systemd_machine, sys.executable)
    unit = Path(CHECKOUT / "systemd" / UNIT).read_text()
    systemd_machine.install_unit(UNIT, unit)
    yield systemd_machine
    systemd_machine.remove_unit(UNIT)
    systemd_machine.run("rm", "-rf", "/etc/supervisord-lite", "/var/lib/supervisord-lite")
    systemd_machine.run("rm", "-rf", "/usr/bin/supervisord-lite", "/var/log/supervisord-lite")
