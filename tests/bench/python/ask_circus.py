"""Ask a circusd over its own socket, with its own client.    ask_circus.py ENDPOINT COUNT.

Prints the seconds of each question as JSON. Needs the interpreter that has circus.
"""

# mypy: disable-error-code="import-not-found"

import json
import sys
import time

from circus.client import CircusClient

client = CircusClient(endpoint=sys.argv[1], timeout=60)
took_s = []
for _ in range(int(sys.argv[2])):
    begun_s = time.perf_counter()
    answer = client.send_message("status")
    took_s.append(time.perf_counter() - begun_s)
    assert answer["status"] == "ok", answer
print(json.dumps(took_s))
