"""The shape of the house: what import-linter and ruff cannot say."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "supervisord_lite"
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
#: A new name here is a decision about how the project presents itself.
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "config", "pyproject.toml",
    "supervisord_lite", "systemd", "tests",
}  # fmt: skip
#: Reaches a process that might not be ours; `raise_signal` and `pause` only touch oneself.
SENDS_SIGNALS = {
    "os.kill", "os.killpg", "signal.pidfd_send_signal", "signal.pthread_kill", "os.pidfd_open",
}  # fmt: skip
#: Of the process objects of these two modules.
SENDING_METHODS = {"kill", "resume", "send_signal", "suspend", "terminate"}
PROCESS_MODULES = {"psutil", "subprocess"}
RESIDENT = ("keeper", "scribe")
#: What these cost is measured in megabytes that every installation pays for ever.
HEAVY = {"argparse", "asyncio", "dataclasses", "inspect", "logging", "pathlib", "re", "subprocess",
         "tempfile", "typing", "uuid"}  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def qualified_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, "module.name") for every use of an attribute of a module, however imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def runtime_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, module) for what is imported when the code runs, inside functions included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.If) and is_type_checking(node.test):
            yield from runtime_imports(ast.Module(node.orelse, []))
        else:
            yield from runtime_imports(node)


def module_file(module: str) -> Path | None:
    """Return the file of a module of ours, None for a name that is not a module."""
    path = CHECKOUT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def closure(package: str) -> dict[Path, list[tuple[int, str]]]:
    """Return the files that *package* brings into its process, each with its foreign imports."""
    waiting = python_files(PACKAGE / package)
    found: dict[Path, list[tuple[int, str]]] = {}
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = []
        for line, module in runtime_imports(parsed(path)):
            if module.split(".")[0] != "supervisord_lite":
                found[path].append((line, module))
            elif file := module_file(module):
                waiting.append(file)
    return found


def test_every_package_opens_with_what_it_is_for() -> None:
    """Each package has a docstring that a newcomer reads first."""
    folders = {path.parent for path in python_files(PACKAGE)}

    missing = [name_of(f) for f in sorted(folders) if not (f / "__init__.py").is_file()]
    assert missing == [], "no __init__.py"
    silent = [
        name_of(f) for f in sorted(folders) if not ast.get_docstring(parsed(f / "__init__.py"))
    ]
    assert silent == [], "no docstring"


def test_no_file_is_a_wall() -> None:
    """Files stay short enough to be read at a sitting."""
    counts = {
        name_of(path): len(path.read_text().splitlines())
        for path in python_files(PACKAGE, CHECKOUT / "tests")
    }

    assert {name: n for name, n in counts.items() if n > FILE_LINES_MAX} == {}


def test_no_function_is_a_wall() -> None:
    """Functions stay short enough to be seen at once."""
    long = [
        f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines"
        for path in python_files(PACKAGE, CHECKOUT / "tests")
        for node in ast.walk(parsed(path))
        if isinstance(node, Function)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_only_the_keeper_sends_signals() -> None:
    """A pid may be signalled by its parent alone, so no other code has the means."""
    senders = []
    for path in python_files(PACKAGE):
        if path.is_relative_to(PACKAGE / "keeper"):
            continue
        tree = parsed(path)
        senders += [
            f"{name_of(path)}:{line} {name}"
            for line, name in qualified_names(tree)
            if name in SENDS_SIGNALS
        ]
        if path in (PACKAGE / "manager" / "daemon.py", PACKAGE / "testing" / "daemon.py"):
            continue  # the parent of the daemon that it ends, through a Popen that nobody else has
        if not PROCESS_MODULES & {module for _, module in runtime_imports(tree)}:
            continue
        senders += [
            f"{name_of(path)}:{node.lineno} .{node.func.attr}()"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in SENDING_METHODS
        ]

    assert senders == []


@pytest.mark.parametrize("package", RESIDENT)
def test_the_resident_processes_use_the_standard_library_only(package: str) -> None:
    """Keeper and scribe can be broken by no other distribution, and stay small."""
    foreign, upward = [], []
    for path, imports in closure(package).items():
        floor = path.relative_to(PACKAGE).parts[0]
        if floor not in (package, "base", "wire", "__init__.py"):
            upward.append(name_of(path))
        foreign += [
            f"{name_of(path)}:{line} {module}"
            for line, module in imports
            if module.split(".")[0] not in sys.stdlib_module_names
        ]

    assert foreign == []
    assert upward == []


def test_a_python_worker_needs_nothing_but_the_standard_library() -> None:
    """What is imported into people's own processes can be broken by no other distribution."""
    for path, imports in closure("worker").items():
        assert path.relative_to(PACKAGE).parts[0] in ("worker", "base", "__init__.py")
        foreign = [module for _, module in imports]
        assert {name.split(".")[0] for name in foreign} <= sys.stdlib_module_names


def test_a_python_worker_runs_on_older_versions_of_python() -> None:
    """Its interpreter is the one of the people's own code: 3.9 and later."""
    for path in closure("worker"):
        text = path.read_text()
        tree = ast.parse(text, feature_version=(3, 9))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)], path
        has_code = len(tree.body) > 1 and path.name != "__init__.py"
        assert not has_code or "from __future__ import annotations" in text, path


@pytest.mark.parametrize("package", RESIDENT)
def test_the_resident_processes_import_nothing_heavy(package: str) -> None:
    """Always-running processes leave out the modules that cost most memory."""
    heavy = [
        f"{name_of(path)}:{line} {module}"
        for path, imports in closure(package).items()
        for line, module in imports
        if module in HEAVY
    ]

    assert heavy == []


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    """One place sleeps, between two looks at a condition."""
    allowed = CHECKOUT / "tests/support/wait.py"
    sleeps = [
        f"{name_of(path)}:{line}"
        for path in python_files(CHECKOUT / "tests")
        if path != allowed and not path.is_relative_to(CHECKOUT / "tests/bench")
        for line, name in qualified_names(parsed(path))
        if name == "time.sleep"
    ]

    assert sleeps == []


def test_test_files_have_different_names() -> None:
    """A name alone says which file is meant."""
    names = [path.name for path in (CHECKOUT / "tests").rglob("test_*.py")]

    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_the_top_level_holds_only_what_belongs_there() -> None:
    """A newcomer sees ten names and finds the way."""
    ignored = (CHECKOUT / ".gitignore").read_text().split()
    extra = {
        path.name
        for path in CHECKOUT.iterdir()
        if path.name not in TOP_LEVEL | {".git"}
        and not any(path.match(pattern.strip("/")) for pattern in ignored)
    }

    assert extra == set()
