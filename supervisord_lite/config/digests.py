"""What tells one version of a file from another."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from supervisord_lite.config.syntax import Document


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    digits: str = _sha256()(data).hexdigest()
    return digits


def _sha256() -> Any:
    """Return the interpreter's own: hashlib brings OpenSSL along, 10 ms for one small file."""
    for name in ("_sha2", "_sha256"):  # since Python 3.12, and before
        try:
            return __import__(name).sha256
        except ImportError:
            continue
    import hashlib

    return hashlib.sha256


def digests_of(documents: Iterable[Document]) -> dict[str, str]:
    """Return the digest of what was read, by the absolute path of each file."""
    sources = [document.source for document in documents]
    return {os.path.abspath(source.file): digest_of(source.data) for source in sources}  # noqa: PTH100
