"""Whether the configuration on the disk is the one in force: the daemon itself reads no files."""

from collections.abc import Mapping

from supervisord_lite.config.digests import digest_of


def changed_files(digests: Mapping[str, str]) -> list[str]:
    """Return which files are not as they were when they came into force.

    Args:
        digests: As the daemon tells them, by absolute path. A file that may not be read by this
            user is not judged.
    """
    changed = []
    for path, digest in digests.items():
        try:
            with open(path, "rb") as file:  # noqa: PTH123  # pathlib takes 3 ms
                is_same = digest_of(file.read()) == digest
        except FileNotFoundError:
            is_same = False
        except OSError:
            continue
        if not is_same:
            changed.append(path)
    return changed
