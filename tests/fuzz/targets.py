"""Every reader of what others have written, by name."""

from tests.fuzz import (
    call_targets,
    configuration_targets,
    journal_targets,
    keeper_targets,
    log_targets,
    saved_targets,
    wire_targets,
    word_targets,
)
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    **wire_targets.TARGETS,
    **word_targets.TARGETS,
    **call_targets.TARGETS,
    **configuration_targets.TARGETS,
    **keeper_targets.TARGETS,
    **log_targets.TARGETS,
    **saved_targets.TARGETS,
    **journal_targets.TARGETS,
}
