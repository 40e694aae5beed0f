"""`stop NAME...`: stop workers and wait until nothing of them is left."""

import argparse

from supervisord_lite.cli import orders
from supervisord_lite.cli.orders import add_arguments

__all__ = ["add_arguments", "run"]

ORDER = orders.OrderVerb(
    verb="stop",
    method="Stop",
    already="stopped already",
    after="until started again, or the service restarts",
)


def run(arguments: argparse.Namespace) -> int:
    """Give the order."""
    return orders.run(arguments, ORDER)
