"""`restart NAME...`: stop and start workers, and wait until they are ready."""

import argparse

from supervisord_lite.cli import orders
from supervisord_lite.cli.orders import add_arguments

__all__ = ["add_arguments", "run"]

ORDER = orders.OrderVerb(
    verb="restart",
    method="Restart",
    already="unchanged",
)


def run(arguments: argparse.Namespace) -> int:
    """Give the order."""
    return orders.run(arguments, ORDER)
