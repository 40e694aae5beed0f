"""What tells one version of a file from another."""

from __future__ import annotations

import hashlib
import os.path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisord_lite.config.syntax import Document


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digests_of(documents: Iterable[Document]) -> dict[str, str]:
    """Return the digest of what was read, by the absolute path of each file."""
    sources = [document.source for document in documents]
    return {os.path.abspath(source.file): digest_of(source.data) for source in sources}  # noqa: PTH100
