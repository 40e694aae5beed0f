"""The web application of the bookshop."""

import os
from collections.abc import Callable


def application(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
    """Answer the shop and its health."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['PATH_INFO']} from {os.getppid()}\n".encode()]
