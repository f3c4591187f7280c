"""What a run and its workers say to each other (see `engine.child_process`)."""

from __future__ import annotations

import msgspec

from ...reports.recording.idle_model import IdleModel
from ...workloads.load_generator import RunCounts
from ...workloads.share import Share
from ...workloads.targets.http_connection import Connection
from ...workloads.targets.prompts import PromptSizer
from ...workloads.targets.wire.api import RequestSettings
from ...workloads.watching.client_audit import ClientAudit
from ...workloads.watching.engine_metrics import EngineMetrics


class SendShare(msgspec.Struct, tag=True, kw_only=True):
    """First message to a worker: what to send where. The only one that holds secrets.

    Attributes:
        traffic: A `TrafficRecipe`, pickled: the worker makes the traffic itself.
        settings: With the next two, what the run found out about the server.
        run_id: Of no other worker.
        results: The file of its results.
        goodput: The objectives, as text.
        measured: From when to when throughput counts, in seconds since the run began.
        idle: What requests take on the idle server, where it was probed.
    """

    share: Share
    traffic: bytes
    connection: Connection
    settings: RequestSettings
    engine: EngineMetrics | None
    sizer: PromptSizer
    run_id: str
    results: str
    measured: tuple[float, float]
    goodput: str | None
    idle: IdleModel | None


class Go(msgspec.Struct, tag=True):
    """The run begins at this time of the machine's monotonic clock."""

    origin_s: float


class Stop(msgspec.Struct, tag=True):
    """End now, with what there is."""


class CanSend(msgspec.Struct, tag=True):
    """It can go."""


class Counted(msgspec.Struct, tag=True):
    """How far it has got."""

    counts: RunCounts


class Ended(msgspec.Struct, tag=True, kw_only=True):
    """Last message: what came of its share.

    Attributes:
        recorder: A `Recorder`, pickled. Its size does not grow with the run.
        num_skipped: Bad rows of the trace left out.
        problem: Why not all of its results are on disk; empty if they are.
    """

    sending_s: float
    counts: RunCounts
    audit: ClientAudit
    recorder: bytes
    num_skipped: int
    problem: str = ""


class CannotSend(msgspec.Struct, tag=True):
    """Last message: why it cannot do what was asked; one line for the user."""

    message: str


ToWorker = SendShare | Go | Stop
FromWorker = CanSend | Counted | Ended | CannotSend

to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
from_worker_decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
