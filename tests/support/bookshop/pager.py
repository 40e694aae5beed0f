"""A listener: takes events as JSON lines on its stdin, and appends what it was told to a file."""

import json
import sys

for line in sys.stdin:
    event = json.loads(line)
    with open(sys.argv[1], "a") as told:
        told.write(f"{event['event']} {event.get('worker') or event.get('name') or ''}\n")
