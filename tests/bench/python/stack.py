"""What a Python worker of a grown application imports, from the standard library alone."""

import importlib

_MODULES = (
    "argparse", "asyncio", "csv", "dataclasses", "decimal", "email.message", "email.parser",
    "hashlib", "http.client", "json", "logging.config", "multiprocessing.connection", "sqlite3",
    "ssl", "urllib.request", "uuid", "xml.etree.ElementTree", "zoneinfo",
)  # fmt: skip

for _name in _MODULES:
    importlib.import_module(_name)
