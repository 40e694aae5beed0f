"""A Python worker with an interpreter of its own:    worker.py BIRTHS NAME."""

# mypy: disable-error-code="import-not-found"

import sys

import stack
from stamp import sleep, stamp

assert stack
stamp(sys.argv[1], sys.argv[2])
sleep()
