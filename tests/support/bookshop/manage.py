"""Stands in for a web project's management script: one job for each word."""

import os
import sys
from pathlib import Path


def main(job: str, *rest: str) -> int:
    """Do one job; what it needs comes from the environment, as in a real project."""
    if os.environ["BOOKSHOP_SETTINGS"] != "bookshop.settings":
        return 3
    with Path("../../jobs/done").open("a") as done:
        done.write(f"{job} {os.environ.get('DATABASE_URL', '')}\n")
    if job == "migrate":
        sys.stdout.write("2 migrations applied\n")
    elif job == "mail":  # a program with a wrong password
        sys.stderr.write("550 bad credentials\n")
        return 1
    return 0


sys.exit(main(*sys.argv[1:]))
