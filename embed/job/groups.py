"""Groups of shards: the unit that a worker takes and that is committed in one go.

A group is as large as keeps its worker busy for about a minute: large enough that fragments are few and a commit costs
nothing, small enough that little is lost with a worker. How long shards take is learned on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..failures import Failure
from ..ledger import ShardRecord
from ..sources import Shard

TARGET_SECONDS = 60.0
# A fragment of a million rows is what Lance itself writes at most into one file.
MOST_ROWS = 1_000_000
# A worker may be killed for what it read (a decoder that crashes, memory); a shard gets a second chance, alone.
MOST_ATTEMPTS = 2


@dataclass(frozen=True)
class Group:
    """Some shards for one worker; `attempt` counts from 1."""

    shards: tuple[Shard, ...]
    attempt: int = 1

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(shard.size for shard in self.shards)


@dataclass(frozen=True)
class GroupDone:
    """What came of a group: fragments to be committed, and what to write down of each shard.

    Attributes
    ----------
    group
        The group.
    fragments
        `lance.FragmentMetadata` as JSON.
    shards
        Record and failures of each shard that was read to its end.
    left
        Shards that could not be read, with the reason: nothing of them is in the fragments.
    seconds
        From taking the group to its last fragment.
    """

    group: Group
    fragments: tuple[str, ...]
    shards: tuple[tuple[ShardRecord, tuple[Failure, ...]], ...]
    left: dict[str, str]
    seconds: float


class GroupSource:
    """Gives out a job's shards group by group.

    Parameters
    ----------
    shards
        In order.
    workers
        How many take groups at the same time.
    limit
        Give no more once so many samples are done or expected of what is given out; None for no limit. Whole shards
        are read, so that a few more may come.
    target_seconds
        How long a group should take.
    """

    def __init__(
        self, shards: Sequence[Shard], workers: int, limit: int | None = None, target_seconds: float = TARGET_SECONDS
    ) -> None:
        self._waiting = deque(shards)
        self._again: deque[Group] = deque()
        self._workers = workers
        self._limit = limit
        self._target = target_seconds
        self._bytes_done = 0
        self._samples_done = 0
        self._shards_done = 0
        self._seconds_done = 0.0
        self._samples_out = 0.0
        self._expected: dict[str, float] = {}
        self.left: dict[str, str] = {}

    def next(self) -> Group | None:
        """Give the next group; None when there is none now (one that was lost may come back)."""
        if self._waiting and not self._is_reached():
            return self._give(self._take())
        if self._again:
            return self._again.popleft()
        return None

    def done(self, outcome: GroupDone) -> None:
        """Learn from a group that came back; its shards that could not be read are tried once more, at the end."""
        for record, _ in outcome.shards:
            self._samples_out -= self._expected.pop(record.shard, 0)
            self._samples_done += record.samples
        self._shards_done += len(outcome.shards)
        self._bytes_done += outcome.group.size
        self._seconds_done += outcome.seconds
        for shard in outcome.group.shards:
            if shard.name in outcome.left:
                self._try_again(shard, outcome.group.attempt, outcome.left[shard.name])

    def lost(self, group: Group, reason: str) -> None:
        """Take back a group whose worker died: each of its shards is tried once more, alone."""
        for shard in group.shards:
            self._try_again(shard, group.attempt, reason)

    def give_back(self, group: Group) -> None:
        """Take back a group that nobody has begun."""
        self._again.appendleft(group)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to give out."""
        return not self._again and (not self._waiting or self._is_reached())

    def _try_again(self, shard: Shard, attempt: int, reason: str) -> None:
        if attempt < MOST_ATTEMPTS:
            self._again.append(Group((shard,), attempt + 1))
        else:
            self.left[shard.name] = reason
            self._samples_out -= self._expected.pop(shard.name, 0)

    def _is_reached(self) -> bool:
        return self._limit is not None and self._samples_done + self._samples_out >= self._limit

    def _take(self) -> list[Shard]:
        taken = [self._waiting.popleft()]
        if not self._bytes_done or not self._seconds_done or self._limit is not None:
            return taken
        most_bytes = self._target * self._bytes_done / self._seconds_done
        if self._workers > 1 and len(self._waiting) < 100 * self._workers:
            # Towards the end groups become smaller, so that the workers finish together.
            most_bytes = min(most_bytes, sum(shard.size for shard in self._waiting) / (2 * self._workers))
        rows, size = self._guess(taken[0]), taken[0].size
        while self._waiting:
            rows, size = rows + self._guess(self._waiting[0]), size + self._waiting[0].size
            if size > most_bytes or rows > MOST_ROWS:
                break
            taken.append(self._waiting.popleft())
        return taken

    def _give(self, shards: list[Shard]) -> Group:
        for shard in shards:
            self._expected[shard.name] = self._guess(shard)
            self._samples_out += self._expected[shard.name]
        return Group(tuple(shards))

    def _guess(self, shard: Shard) -> float:
        if shard.expected is not None:
            return shard.expected
        return shard.size * self._samples_done / self._bytes_done if self._bytes_done else 1
