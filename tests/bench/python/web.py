"""The application that gunicorn serves, and gunicorn's settings: its workers are born here."""

# mypy: disable-error-code="import-not-found"

import os
from collections.abc import Callable, Iterable

import stack
from stamp import stamp

assert stack


def application(_environ: dict[str, object], start: Callable[..., object]) -> Iterable[bytes]:
    """Answer nothing."""
    start("204 No Content", [])
    return []


def post_worker_init(_worker: object) -> None:
    """Be born; its workers have no names."""
    stamp(os.environ["BENCH_BIRTHS"], f"w{os.getpid()}")
