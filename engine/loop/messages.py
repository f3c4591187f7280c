"""What the server's and the engine's process say to each other (see `child_process`)."""

from __future__ import annotations

import msgspec

from ..config import EngineConfig
from ..request import SamplingParams
from ..session import SessionUse
from .engine import TokenOutput
from .stats import EngineStats


class Start(msgspec.Struct, tag=True):
    """First message to the engine."""

    config: EngineConfig


class Submit(msgspec.Struct, tag=True):
    """Run a request."""

    request_id: str
    prompt_ids: list[int]
    sampling: SamplingParams
    session: SessionUse | None = None


class Tell(msgspec.Struct, tag=True):
    """What a parked session waits for and for how long, if the client knows."""

    session_id: str
    tool: str | None = None
    expected_pause_s: float | None = None


class EndSession(msgspec.Struct, tag=True):
    """Nothing will come of this session any more. Answered by `SessionEnded`."""

    session_id: str


class Cancel(msgspec.Struct, tag=True):
    """No client waits for this request any more."""

    request_id: str


class Vocabulary(msgspec.Struct, tag=True):
    """What grammars are made of. Sent before the first request; answered by `VocabularyLearnt`.

    `tokenizer` is JSON text of the `tokenizers` library; `end_token_ids` end an answer.
    """

    tokenizer: str
    end_token_ids: list[int]


class Ping(msgspec.Struct, tag=True):
    """Answered by `Pong` at once, whatever the step loop is doing."""


class MemoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of device memory, by what they are for.

    Attributes:
        total_bytes: The whole device.
        weight_bytes: The model.
        step_bytes: What the largest step takes besides, at its peak.
        graph_bytes: Recorded decode steps, as measured before KV was sized.
        kv_bytes: KV blocks.
        free_bytes: What is left once everything is in place.
        num_graphs: Recorded decode steps.
    """

    total_bytes: int
    weight_bytes: int
    step_bytes: int
    graph_bytes: int
    kv_bytes: int
    free_bytes: int
    num_graphs: int

    def __str__(self) -> str:
        def gib(count: int) -> str:
            return f"{count / 2**30:.1f} GiB"

        graphs = f", {self.num_graphs} CUDA graphs {gib(self.graph_bytes)}" if self.num_graphs else ""
        return (
            f"device memory {gib(self.total_bytes)}: weights {gib(self.weight_bytes)}, largest step "
            f"{gib(self.step_bytes)}{graphs}, KV {gib(self.kv_bytes)}, free {gib(self.free_bytes)}"
        )


class Ready(msgspec.Struct, tag=True, kw_only=True):
    """First message from an engine that can take requests. None bounds of the model are already resolved."""

    max_model_len: int
    max_num_seqs: int
    vocab_size: int
    eos_token_ids: list[int]
    num_blocks: int
    block_size: int
    kv_bytes: int
    num_host_blocks: int = 0
    device: str
    dtype: str
    batching: str
    steps_ahead: int
    simulated: bool = False
    attention: str = ""
    """The attention backend; empty where nothing attends."""
    num_graphs: int = 0
    """Decode steps recorded as CUDA graphs."""
    layers: str = ""
    """Which layers of the model were rewritten, and why others were not; empty where none were to be."""
    memory: MemoryReport | None = None
    """Of a CUDA device."""


class Starting(msgspec.Struct, tag=True):
    """Before `Ready` or `Failed`, any number of times: what the engine is doing."""

    what: str


class Failed(msgspec.Struct, tag=True):
    """The engine cannot start, and why: one line for the user."""

    message: str


class Outputs(msgspec.Struct, tag=True):
    """What one turn of the engine's loop produced."""

    tokens: list[TokenOutput]
    stats: EngineStats


class Refused(msgspec.Struct, tag=True):
    """A submitted request cannot be served. The server checks beforehand what it can."""

    request_id: str
    message: str
    param: str | None
    status: int
    code: str


class SessionEnded(msgspec.Struct, tag=True):
    """Answers `EndSession`. `is_found` is false if there was no such session, or it had expired."""

    session_id: str
    is_found: bool


class VocabularyLearnt(msgspec.Struct, tag=True):
    """Answers `Vocabulary`."""


class Pong(msgspec.Struct, tag=True):
    """Answers `Ping`."""


ToEngine = Start | Submit | Cancel | Tell | EndSession | Vocabulary | Ping
FromEngine = Starting | Ready | Failed | Outputs | Refused | SessionEnded | VocabularyLearnt | Pong

to_engine_decoder = msgspec.msgpack.Decoder(ToEngine)
from_engine_decoder: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)
