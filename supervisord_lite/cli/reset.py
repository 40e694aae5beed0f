"""`reset NAME...`: close a breaker, start the backoff sequence again, and start."""

import argparse

from supervisord_lite.cli import orders
from supervisord_lite.cli.orders import add_arguments

__all__ = ["add_arguments", "run"]

ORDER = orders.OrderVerb(
    verb="reset",
    method="Reset",
    already="nothing to reset",
)


def run(arguments: argparse.Namespace) -> int:
    """Give the order."""
    return orders.run(arguments, ORDER)
