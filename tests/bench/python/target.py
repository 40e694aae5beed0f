"""A Python worker that our daemon forks."""

# mypy: disable-error-code="import-not-found"

from stamp import stamp

from supervisord_lite.worker import context


def run(births: str) -> None:
    """Be born, and wait for the end."""
    stamp(births, context.name)
    context.stopping.wait()
