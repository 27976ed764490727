"""How a W&B server behaves where its clients can't rely on anything: a value for the stand-in.

`World.all()` has them by name, for tests that go through them. The default is the nearest to the
real server that anybody has described:

- Lines have a cursor (wandb#12269). A post to an earlier line sets it back; one that would leave a
  gap behind it is put *at* the cursor, over whatever is there.
- Counts are 2 to 4 s behind what was sent (wandb#12421), and history tails come from a cache of
  their own (wandb#12668).
- The documented rate limits are enforced: "Rate limits" of W&B Dedicated Cloud.

Whoever needs less says so: ``World.PROMPT`` tells the truth at once, refuses gaps and limits
nothing; each of the others, ``World.APPENDS`` say, differs from that in one way alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, get_args

Offsets = Literal[
    "cursor",  # honoured in so far as they leave no gap behind the server's own cursor
    "strict",  # a gap is refused with 400
    "gaps",  # honoured always: lines past a hole count, and the hole does, too
    "append",  # ignored: whatever comes goes to the end
]


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """The limits that W&B documents, as token buckets: each is full at first, holds what `burst_s`
    seconds bring, and a request that finds too little in one of them takes nothing from any."""

    posts_per_run: float = 2.0  # file stream requests per second
    posts_per_project: float = 500.0
    bytes_per_project: float = 120e6  # of file stream requests per second
    runs_per_project: float = 80.0  # runs made per second
    burst_s: float = 1.0
    always_told: bool = False  # RateLimit headers on each answer; documented for a 429 alone

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name != "always_told" and not getattr(self, item.name) > 0:
                raise ValueError(f"{item.name} has to be more than 0")


@dataclass(frozen=True, kw_only=True)
class World:
    """One server's ways. They may be changed under way: `WandbServer.change_world`."""

    DEFAULT: ClassVar[World]
    PROMPT: ClassVar[World]
    LINE_CURSOR: ClassVar[World]
    GAPS: ClassVar[World]
    APPENDS: ClassVar[World]
    NEVER_COUNTS: ClassVar[World]
    COUNTS_LATE: ClassVar[World]
    STALE_TAILS: ClassVar[World]
    STREAM_ERROR: ClassVar[World]
    NO_TAIL: ClassVar[World]
    NO_MISSING_OK: ClassVar[World]
    RATE_LIMITS: ClassVar[World]

    offsets: Offsets = "cursor"
    counts: bool = True  # False: historyLineCount is 0, whatever came
    count_lag_s: float = 2.5  # historyLineCount is what it was so many seconds ago
    tail_lag_s: float = 2.0  # likewise historyTail and historyKeys.lastStep
    knows_tail: bool = True  # False: historyTail is null
    missing_ok: bool = True  # False: asking for a run that isn't there is an error
    stream_error: str = ""  # file stream: 200, with these words as `error`; nothing is applied
    limits: RateLimits | None = field(default_factory=RateLimits)
    max_request: int | None = None  # bytes of a POST as sent; a proxy answers 413 to more
    stopped: bool = False  # somebody pressed Stop on every run's page
    gzip: bool = False  # FILESTREAM_GZIP; False: a compressed file stream body is refused
    upload_headers: tuple[str, ...] = ()  # "Name:value"; a PUT of a file without them is refused

    def __post_init__(self) -> None:
        if self.offsets not in get_args(Offsets):
            raise ValueError(f"no such way with offsets: {self.offsets}")
        if min(self.count_lag_s, self.tail_lag_s) < 0:
            raise ValueError("a lag has to be 0 or more seconds")

    @classmethod
    def all(cls) -> Mapping[str, World]:
        """Every world that has a name, by its name in words: "line cursor"."""
        named = {name: getattr(cls, name) for name in vars(cls) if name.isupper()}
        return {
            name.lower().replace("_", " "): world
            for name, world in named.items()
            if isinstance(world, cls)
        }

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> World:
        """What `to_json` wrote; fields that are not there have their defaults. TypeError or
        ValueError where it is none."""
        values: dict[str, Any] = json.loads(text)
        if values.get("limits") is not None:
            values["limits"] = RateLimits(**values["limits"])
        if "upload_headers" in values:
            values["upload_headers"] = tuple(values["upload_headers"])
        return cls(**values)


World.DEFAULT = World()
World.PROMPT = World(offsets="strict", count_lag_s=0.0, tail_lag_s=0.0, limits=None)
World.LINE_CURSOR = replace(World.PROMPT, offsets="cursor")
World.GAPS = replace(World.PROMPT, offsets="gaps")
World.APPENDS = replace(World.PROMPT, offsets="append")
World.NEVER_COUNTS = replace(World.PROMPT, counts=False)
World.COUNTS_LATE = replace(World.PROMPT, count_lag_s=2.0)
World.STALE_TAILS = replace(World.PROMPT, tail_lag_s=2.0)
World.STREAM_ERROR = replace(World.PROMPT, stream_error="no such run")
World.NO_TAIL = replace(World.PROMPT, knows_tail=False)
World.NO_MISSING_OK = replace(World.PROMPT, missing_ok=False)
World.RATE_LIMITS = replace(World.PROMPT, limits=RateLimits())
