"""`start NAME...`: start workers and wait until they are ready."""

import argparse

from supervisord_lite.cli import orders

__all__ = ["add_arguments", "run"]

ORDER = orders.OrderVerb(
    verb="start",
    method="Start",
    already="ready already",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    orders.add_arguments(parser)
    parser.add_argument(
        "--no-deps", action="store_true", help="neither start nor wait for what it requires"
    )


def run(arguments: argparse.Namespace) -> int:
    """Give the order."""
    more = {"no_deps": True} if arguments.no_deps else {}
    return orders.run(arguments, ORDER, **more)
