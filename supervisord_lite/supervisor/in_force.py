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

    def put(self, files: dict[str, str], since: str) -> None:
        """One more configuration is in force: these files, since then."""
        self.generation += 1
        self.since = since
        self.put_files(files)

    def put_files(self, files: dict[str, str]) -> None:
        """The same is in force, and stands in these files now."""
        self.files = files
        force = {"generation": self.generation, "files": files, "since": self.since}
        self._outbox.save("force", json.dumps(force))

    def put_sizes(self, by_hand: dict[str, ScaledByHand], of_file: Mapping[str, Spec]) -> None:
        """These sizes are people's; *of_file* has at least their pools."""
        self.by_hand = by_hand
        self.of_file = {pool: of_file[pool] for pool in by_hand}
        hands = {
            pool: (hand.size, hand.file_size, to_json(self.of_file[pool]))
            for pool, hand in by_hand.items()
        }
        self._outbox.save("by_hand", json.dumps(hands))
