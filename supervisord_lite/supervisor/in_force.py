"""Which configuration is in force: its number, its files, and the sizes that people have set.

Saved with the keeper, so that it is the same for each supervisor.
"""

import json
from collections.abc import Mapping

from supervisord_lite.config.spec import Spec, spec_from_json, to_json
from supervisord_lite.core.scale import ScaledByHand
from supervisord_lite.supervisor.outbox import Outbox


class InForce:
    """What a reload changes, beside the workers.

    Attributes:
        generation: How many configurations have been in force since `run`.
        files: Of the one in force: absolute path -> digest.
        since: When it came into force, RFC 3339 UTC.
        by_hand: Pool -> the size that a person gave it; replaced, never changed.
        of_file: Of those pools: the spec as the file has it.
    """

    def __init__(self, outbox: Outbox, saves: Mapping[str, str]) -> None:
        """Go on with what an earlier supervisor, or `run`, had saved."""
        self._outbox = outbox
        force = json.loads(saves.get("force", "{}"))
        self.generation: int = force.get("generation", 1)
        self.files: dict[str, str] = force.get("files", {})
        self.since: str = force.get("since", "")
        hands = json.loads(saves.get("by_hand", "{}"))
        self.by_hand = {pool: ScaledByHand(*hand[:2]) for pool, hand in hands.items()}
        self.of_file = {pool: spec_from_json(hand[2]) for pool, hand in hands.items()}

    def put(
        self,
        files: dict[str, str],
        since: str,
        by_hand: dict[str, ScaledByHand],
        of_file: Mapping[str, Spec],
    ) -> None:
        """One more configuration is in force: these files, since then, with these sizes."""
        self.generation += 1
        self.since = since
        self.amend(by_hand, of_file, files)

    def amend(
        self,
        by_hand: dict[str, ScaledByHand],
        of_file: Mapping[str, Spec],
        files: dict[str, str] | None = None,
    ) -> None:
        """The same configuration is in force, with these sizes; all of it is saved, or nothing.

        Args:
            by_hand: As the attribute.
            of_file: Has at least the pools of *by_hand*.
            files: In which the same stands from now on; None: where it stood before.
        """
        self.by_hand = by_hand
        self.of_file = {pool: of_file[pool] for pool in by_hand}
        if files is not None:
            self.files = files
        self._outbox.whole()
        self._outbox.save("force", force_text(self.generation, self.files, self.since))
        self._outbox.save("by_hand", by_hand_text(by_hand, self.of_file))


def force_text(generation: int, files: Mapping[str, str], since: str) -> str:
    """Return what is saved as "force"; the arguments are as the attributes of `InForce`."""
    return json.dumps({"generation": generation, "files": dict(files), "since": since})


def by_hand_text(by_hand: Mapping[str, ScaledByHand], of_file: Mapping[str, Spec]) -> str:
    """Return what is saved as "by_hand".

    Args:
        by_hand: As the attribute of `InForce`.
        of_file: Has at least these pools.
    """
    return json.dumps(
        {
            pool: (hand.size, hand.file_size, to_json(of_file[pool]))
            for pool, hand in by_hand.items()
        }
    )
