"""``INTERPRETER …/worker/boot.py FD NAME TARGET``: an interpreter that was started for one target.

The interpreter is the worker's own: another virtual environment, another minor version, and nothing
of ours is installed there. So this file is run by its path, and lets exactly one package be found
where it stands itself: this one. The folder that it stands in is often the daemon's site-packages,
and nothing else of that may be importable, or a worker would run with libraries that are not its
own. PYTHONPATH stays as it is configured, for the worker and for what it starts.

The record of the launch is read from descriptor FD, a memory file that only this process has: what
stands in a command line or in the environment can be read by others. NAME and TARGET are for `ps`.

``INTERPRETER …/worker/boot.py warm DIRECTORY MODULE… [-- TARGET…]`` is the entrance of a
forkserver, which imports the modules, and what every worker needs, once, and tries whether the
targets can be imported: `forkserver.py` goes on from here.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
_PACKAGE = os.path.dirname(_HERE)  # noqa: PTH120
_PIECE_BYTES = 1 << 16


def make_importable() -> None:
    """Let `supervisord_lite` be found, from where this file is; nothing else from there."""
    # Python puts a script's folder in front, unless it was told not to.
    if sys.path and os.path.abspath(sys.path[0] or ".") == _HERE:  # noqa: PTH100
        del sys.path[0]
    from importlib.util import module_from_spec, spec_from_file_location

    name = os.path.basename(_PACKAGE)  # noqa: PTH119
    entrance = os.path.join(_PACKAGE, "__init__.py")  # noqa: PTH118
    spec = spec_from_file_location(name, entrance, submodule_search_locations=[_PACKAGE])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def read_record(descriptor: int) -> bytes:
    """Return what the daemon wrote into the memory file; close it."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(descriptor, _PIECE_BYTES):
        pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces)


def main() -> int:
    """Run the target; return the exit code."""
    if sys.argv[1] == "warm":
        return warm()
    text = read_record(int(sys.argv[1]))
    sys.argv[:] = sys.argv[3:]
    make_importable()
    # A log is read while it is written: a line of it must not wait for the next four kilobytes.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    import json

    from supervisord_lite.worker.launched import run

    return run(json.loads(text))


def warm() -> int:
    """Serve; return in a worker that was forked, with its exit code."""
    directory, *words = sys.argv[2:]
    end = words.index("--") if "--" in words else len(words)
    modules, targets = words[:end], words[end + 1 :]
    sys.argv[:] = [directory]
    make_importable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    from supervisord_lite.worker import forkserver
    from supervisord_lite.worker.launched import run

    sys.path.insert(0, directory)
    return forkserver.main(modules, targets, run)


if __name__ == "__main__":
    sys.exit(main())
