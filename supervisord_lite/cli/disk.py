"""Whether the configuration on the disk is the one in force: the daemon itself reads no files."""

from collections.abc import Mapping

from supervisord_lite.config.source import Source, read_source


def changed_files(digests: Mapping[str, str]) -> list[str]:
    """Return which files are not as they were when they came into force.

    Args:
        digests: As the daemon tells them: absolute path -> `Source.digest`. A file that may not be
            read by this user is not judged.
    """
    changed = []
    for path, digest in digests.items():
        source = read_source(path)
        if isinstance(source, Source):
            if source.digest() != digest:
                changed.append(path)
        elif "cannot be read" not in source.message:
            changed.append(path)
    return changed
