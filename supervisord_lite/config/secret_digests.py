"""Whether a secret is another one than before, without keeping it.

Each file is read once for a configuration, in `run` or in the child that reads the file for a
reload, and its digest is put into the spec. The digest is keyed: who sees it cannot try what a
short secret may be. The key is made anew for each daemon and stays in its memory; a state folder
never has it. So digests of two daemons cannot be compared, and `unsealed` says so.

What is compared is what the files were when the configuration in force was read. A worker that has
been started since may have read a newer one already, and is restarted once more by the next reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.base.record import replace
from supervisord_lite.base.secret_file import SecretError, read
from supervisord_lite.config.secret_keys import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.spec import Configuration, Secret, Spec

#: In the environment of the child that reads the configuration, where nobody else looks.
KEY_VARIABLE = "_SUPERVISORD_LITE_DIGESTS"
_DIGEST_BYTES = 16


def sealed(configuration: Configuration, key: str, environ: Mapping[str, str]) -> Configuration:
    """Return *configuration* with the digest of each secret; empty where it cannot be read.

    Args:
        configuration: Judged good.
        key: Of this daemon; empty: there is none, and so no digest.
        environ: The daemon's, for the folder of credentials.
    """
    if not key:
        return configuration
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    known: dict[str, bytes] = {}

    def digest_of(secret: Secret, pool_size: int) -> str:
        import hashlib  # 10 ms, which most configurations need not pay

        made = hashlib.blake2b(key=key.encode(), digest_size=_DIGEST_BYTES)
        paths = [path_of(secret, index, credentials) for index in range(1, pool_size + 1)]
        for path in dict.fromkeys(paths):
            if path is None:
                return ""
            try:
                if path not in known:
                    known[path] = hashlib.blake2b(read(path), key=key.encode()).digest()
            except SecretError:
                return ""
            made.update(known[path])
        return made.hexdigest()

    def with_digests(spec: Spec) -> Spec:
        if not spec.launch.secrets:
            return spec
        secrets = tuple(
            replace(each, digest=digest_of(each, spec.pool_size)) for each in spec.launch.secrets
        )
        return replace(spec, launch=replace(spec.launch, secrets=secrets))

    return replace(configuration, specs=tuple(map(with_digests, configuration.specs)))


def unsealed(spec: Spec) -> Spec:
    """Return *spec* without digests: they were made with another key."""
    if not spec.launch.secrets:
        return spec
    secrets = tuple(replace(each, digest="") for each in spec.launch.secrets)
    return replace(spec, launch=replace(spec.launch, secrets=secrets))
