"""`check` of Python workers: their interpreters, and with --imports their targets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import MODULE, clean_environment

pytestmark = pytest.mark.process

GOOD = """
import threading
from dataclasses import dataclass
open("imported", "a").write(f"{__import__('os').getuid()}\\n")
threading.Thread(target=threading.Event().wait).start()
print("noise")

@dataclass
class Orders:
    source: object
    batch: int = 20
    def run(self): ...

def rank(context, *, top=3): ...
"""


@pytest.fixture
def folder() -> Path:
    """Return a folder with a project that anybody may read, and write to."""
    found = leftovers.short_folder()
    found.chmod(0o1777)
    (found / "shop.py").write_text(GOOD)
    return found


def check(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Write the configuration, and judge it."""
    (folder / "workers.toml").write_text(text)
    return subprocess.run(
        [*MODULE, "check", "-c", "workers.toml", *arguments], cwd=folder, text=True, timeout=60,
        env=clean_environment(), capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def program(folder: Path, text: str) -> Path:
    """Write something that can be run in place of an interpreter."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


TWO = """\
[worker.orders]
python = "shop:Orders"
config.source = "memory:"
[worker.rank]
python = "shop:rank"
"""


def test_check_says_which_python_runs_what(folder: Path) -> None:
    """And imports nothing."""
    done = check(folder, TWO)
    version = ".".join(map(str, sys.version_info[:3]))
    assert done.stdout == (
        f"Python {version}: {sys.executable}: orders, rank\n"
        "workers.toml: 2 workers, 2 processes: ok\n"
    )
    assert not (folder / "imported").exists()
    (found,) = json.loads(check(folder, TWO, "--json").stdout)["interpreters"]
    assert found == {"path": sys.executable, "workers": ["orders", "rank"], "version": version}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "interpreter: No such file or directory: @/python"),
        ("exit 3", "interpreter: @/python is no Python: it ended with 3"),
        ("echo 3 8 1", "interpreter: @/python is Python 3.8.1; 3.9 is the oldest"),
    ],
)
def test_an_interpreter_that_is_of_no_use_is_an_error(
    folder: Path, text: str | None, why: str
) -> None:
    """At its place."""
    if text is not None:
        program(folder, text)
    done = check(folder, f'[defaults]\ninterpreter = "./python"\n{TWO}', "--json")
    assert done.returncode == 78
    (error,) = json.loads(done.stdout)["errors"]
    assert error["message"] == why.replace("@", str(folder))
    assert (error["line"], error["column"]) == (2, 15)


def test_a_name_is_looked_up_in_the_path_of_the_worker(folder: Path) -> None:
    """As it is when the worker starts."""
    program(folder, "echo 3 12 1")
    text = f'{TWO}interpreter = "python"\nenvironment.PATH = "{folder}"\n'
    assert "Python 3.12.1: python: rank\n" in check(folder, text).stdout
    done = check(folder, text.replace(f'"{folder}"', '"/nowhere"'))
    assert done.returncode == 78
    assert "no such file in PATH: python" in done.stderr


def test_what_is_told_of_many_fits_into_a_terminal(folder: Path) -> None:
    """And a long name stands apart from its target."""
    text = "".join(f'[worker.consumer-of-the-orders-{n}]\npython = "shop:rank"\n' for n in range(9))
    lines = check(folder, text, "--imports").stdout.splitlines()
    assert ["consumer-of-the-orders-0", "shop:rank"] in [line.split()[:2] for line in lines]
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []


def test_imports_are_tried_in_their_own_interpreter(folder: Path) -> None:
    """Once, whatever they print, and though they leave threads."""
    done = check(folder, TWO, "--imports")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split(" ok, ")[0].split() for line in lines[:2]] == [
        ["orders", "shop:Orders"], ["rank", "shop:rank"],
    ]  # fmt: skip
    assert done.stderr == "noise\n"
    assert len((folder / "imported").read_text().splitlines()) == 1
    found = json.loads(check(folder, TWO, "--imports", "--json").stdout)["imports"]
    assert [(each["worker"], each["target"]) for each in found] == [
        ("orders", "shop:Orders"), ("rank", "shop:rank"),
    ]  # fmt: skip


BAD = """\
[worker.orders]
python = "shop:Orders"
config.source = "memory:"
config.bach = 50
[worker.empty]
python = "shop:Orders"
[worker.typo]
python = "shop:rnk"
[worker.broken]
python = "broken:x"
[worker.dies]
python = "dies:x"
[worker.raises]
python = "raises:x"
[worker.gone]
python = "gone:x"
[worker.warm]
python = "shop:rank"
preload = ["json", "shop.model"]
[worker.good]
python = "shop:rank"
config.top = 1
"""


def test_each_that_does_not_fit_is_told_at_its_place(folder: Path) -> None:
    """All at once; also when an import ends the process, or raises."""
    (folder / "broken.py").write_text("x = {\n")
    (folder / "dies.py").write_text("import os\nos._exit(9)\n")
    (folder / "raises.py").write_text("def f():\n    raise OSError('no disk')\nf()\n")
    done = check(folder, BAD, "--imports")
    assert done.returncode == 78
    assert "good    shop:rank" in done.stdout
    errors = json.loads(check(folder, BAD, "--imports", "--json").stdout)["errors"]
    assert [(e["line"], e["column"], e["message"]) for e in errors] == [
        (4, 8, 'Orders has no field "bach"'),
        (6, 10, 'Orders needs the field "source"'),
        (8, 10, 'target "shop:rnk": shop has no "rnk"; did you mean "rank"?'),
        (10, 10, "SyntaxError: '{' was never closed (broken.py, line 1)"),
        (12, 10, "python: dies:x: its import ended the process with 9"),
        (14, 10, "OSError: no disk"),
        (16, 10, "ModuleNotFoundError: No module named 'gone'"),
        (18, 10, "ModuleNotFoundError: No module named 'shop.model'; 'shop' is not a package"),
    ]
    assert errors[0]["hint"] == 'did you mean "batch"? fields: source, batch'
    assert errors[1]["hint"] == "config.source = …; fields: source, batch"
    assert errors[5]["hint"] == f"{folder}/raises.py, line 2"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_nothing_is_imported_as_root_for_another_user(folder: Path) -> None:
    """What stands in the folder of a project is its user's business."""
    text = TWO.replace("[worker.rank]", 'user = "nobody"\n[worker.rank]\nuser = "nobody"')
    text = f'[defaults]\ninterpreter = "/usr/bin/python3"\n{text}'
    done = check(folder, text, "--imports")
    assert done.returncode == 0, done.stderr
    uids = set((folder / "imported").read_text().split())
    assert uids == {subprocess.run(
        ["id", "-u", "nobody"], capture_output=True, text=True, check=True
    ).stdout.strip()}  # fmt: skip
