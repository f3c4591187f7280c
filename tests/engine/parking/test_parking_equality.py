"""Whatever became of a session's KV between its turns, its tokens are those of `model.generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
import torch
from abatch.engine.models.loader import LoadedModel
from abatch.engine.parking.config import ParkingConfig, ParkPolicy
from abatch.engine.parking.costs import ParkCosts
from abatch.engine.request import Request, SamplingParams
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
from abatch.engine.session import ParkingTotals, SessionUse
from support.models import VOCAB_SIZE, generate_one_by_one, load, make_engine, make_model
from transformers import PreTrainedModel

_NUM_BLOCKS, _BLOCK_SIZE = 40, 4
_BLOCK_BYTES = 100

every_mode = pytest.mark.parametrize("batching", BATCHING_MODES)


class Reference:
    """What transformers says, asked once for each prompt: all modes and policies are asked the same."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._known: dict[tuple[int, ...], list[int]] = {}

    def answer(self, prompt: list[int], limit: int) -> list[int]:
        key = (limit, *prompt)
        if key not in self._known:
            (self._known[key],) = generate_one_by_one(self._model, [prompt], [limit])
        return self._known[key]


Models = tuple[Reference, LoadedModel]


@pytest.fixture(scope="module", params=["llama", "gemma3-sliding", "gpt2"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """The same random weights, once as transformers runs them and once as the engine does."""
    folder = tmp_path_factory.mktemp(request.param)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small work is quicker without help
    yield Reference(make_model(request.param, folder)), load(folder)
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def fixed_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's copies really take decides nothing here: a block is copied in less time than computed."""
    monkeypatch.setattr(ParkCosts, "learn_prefill", lambda *_: None)
    monkeypatch.setattr(ParkCosts, "learn_copy", lambda *_: None)


@dataclass
class Conversations:
    """Sessions on an engine, and all that was asked and answered."""

    models: Models
    batching: Batching
    park: ParkPolicy
    num_host_blocks: int = 60
    num_blocks: int = _NUM_BLOCKS
    slice_tokens: int = 512
    asked: list[tuple[list[int], int]] = field(default_factory=list)
    answered: list[list[int]] = field(default_factory=list)
    random: Random = field(default_factory=lambda: Random(5))

    def __post_init__(self) -> None:
        config = SchedulerConfig(
            batching=self.batching,
            max_num_seqs=4,
            max_num_batched_tokens=48,
            max_model_len=self.num_blocks * _BLOCK_SIZE,
            window_size=4,
            window_timeout_s=0.01,
            slice_tokens=self.slice_tokens,
        )
        parking = ParkingConfig(policy=self.park, host_num_blocks=self.num_host_blocks, block_bytes=_BLOCK_BYTES)
        tools = make_engine(self.models[1], config, num_blocks=self.num_blocks, block_size=_BLOCK_SIZE, parking=parking)
        self.engine, self.scheduler = tools.engine, tools.scheduler

    @property
    def totals(self) -> ParkingTotals:
        return self.engine.totals_now().parking

    def new(self, count: int) -> list[int]:
        """Tokens that nobody has said yet."""
        return [self.random.randrange(3, VOCAB_SIZE) for _ in range(count)]

    def submit(self, session_id: str | None, prompt: Sequence[int], limit: int) -> None:
        session = None if session_id is None else SessionUse(session_id=session_id, expected_pause_s=2.0)
        sampling = SamplingParams(max_tokens=limit, temperature=0.0)
        request_id = str(len(self.asked))
        self.asked.append((list(prompt), limit))
        self.answered.append([])
        self.engine.submit(Request(request_id, list(prompt), sampling, session=session))

    def steps(self, count: int) -> None:
        for _ in range(count):
            for output in self.engine.step():
                assert output.token_id is not None
                self.answered[int(output.request_id)].append(output.token_id)

    def run(self) -> None:
        """Until everybody has been served, and all copies are made."""
        for _ in range(3000):
            if not self.engine.has_work:
                self.steps(4)
                return
            self.steps(1)
        raise AssertionError("somebody is never served")

    def say(self, session_id: str, prompt: list[int], limit: int = 6) -> list[int]:
        """A turn, and all that the session has then."""
        self.submit(session_id, prompt, limit)
        self.run()
        return prompt + self.answered[-1]

    def overrun(self) -> None:
        """Others need all of the KV memory: what is not held is overwritten, and pins are broken."""
        self.submit(None, self.new(self.num_blocks * _BLOCK_SIZE - 1), 1)
        self.run()

    def check(self) -> None:
        assert self.answered == [self.models[0].answer(*asked) for asked in self.asked]
        for name in [session for session in ("a", "b", "c") if self.scheduler.parking.find(session)]:
            assert self.engine.end_session(name)
        self.steps(3)
        assert self.scheduler.blocks.num_held == self.scheduler.parking.num_host_blocks_held == 0


@every_mode
@pytest.mark.parametrize(
    ("park", "num_host_blocks", "is_overrun", "happens"),
    [
        ("keep", 0, False, "num_kept"),
        ("keep", 0, True, "num_recomputed"),
        ("offload", 60, True, "num_restored"),
        ("drop", 0, True, "num_recomputed"),
        ("auto", 60, False, "num_kept"),
        ("auto", 60, True, "num_restored"),
        ("auto", 0, True, "num_recomputed"),
    ],
)
def test_three_turns_of_two_sessions(
    models: Models,
    batching: Batching,
    park: ParkPolicy,
    num_host_blocks: int,
    is_overrun: bool,
    happens: str,
) -> None:
    talk = Conversations(models, batching, park, num_host_blocks)
    histories = {name: talk.new(9 + 6 * number) for number, name in enumerate(("a", "b"))}
    histories["b"][:8] = histories["a"][:8]  # a system prompt
    for _ in range(3):
        first = len(talk.asked)
        for name, history in histories.items():
            talk.submit(name, history, 7)
        talk.run()
        for number, name in enumerate(histories, start=first):
            histories[name] = talk.asked[number][0] + talk.answered[number] + talk.new(5)
        if is_overrun:
            talk.overrun()
    assert talk.totals.num_parked == 6
    assert getattr(talk.totals, happens) == 4, talk.totals
    if happens == "num_restored":
        assert talk.totals.offloaded_bytes > 0
        assert talk.totals.restored_bytes >= 4 * _BLOCK_BYTES
        assert talk.totals.recomputed_tokens == 0
    talk.check()


@every_mode
def test_a_session_fetched_back_before_it_returns(models: Models, batching: Batching) -> None:
    talk = Conversations(models, batching, "auto")
    history = talk.say("a", talk.new(30))
    talk.overrun()
    assert talk.totals.offloaded_bytes > 0
    for _ in range(4000):
        if talk.totals.num_prefetched:
            break
        talk.steps(1)
    talk.steps(3)
    assert talk.scheduler.parking.num_pinned_blocks == 8
    history = talk.say("a", history + talk.new(3))
    assert (talk.totals.num_prefetched, talk.totals.num_kept, talk.totals.num_recomputed) == (1, 1, 0)
    talk.say("a", history + talk.new(3))
    talk.check()


@every_mode
@pytest.mark.parametrize("park", ["keep", "offload", "auto"])
@pytest.mark.parametrize("is_overrun", [False, True])
def test_edited_and_compacted_histories(models: Models, batching: Batching, park: ParkPolicy, is_overrun: bool) -> None:
    talk = Conversations(models, batching, park)
    history = talk.say("a", talk.new(60))
    for edit in ("edited", "compacted", "shortened", "rewritten"):
        if is_overrun:
            talk.overrun()
        if edit == "edited":
            history = [*history[:21], *talk.new(2), *history[23:], *talk.new(4)]
        elif edit == "compacted":
            history = history[:16] + history[48:] + talk.new(3)
        elif edit == "shortened":
            history = history[:20]
        else:
            history = talk.new(len(history) + 40)
        history = talk.say("a", history)
    talk.check()


@every_mode
@pytest.mark.parametrize("park", ["offload", "auto"])
def test_turns_that_are_preempted_and_make_way(models: Models, batching: Batching, park: ParkPolicy) -> None:
    talk = Conversations(models, batching, park, num_host_blocks=30, num_blocks=18, slice_tokens=5)
    histories = {name: talk.new(12) for name in ("a", "b", "c")}
    for _ in range(3):
        first = len(talk.asked)
        for name, history in histories.items():
            talk.submit(name, history[-24:], 16)
            talk.steps(2)
        talk.submit(None, talk.new(20), 3)
        talk.submit(None, talk.new(20), 3)
        talk.run()
        for number, name in enumerate(histories, start=first):
            histories[name] = talk.asked[number][0] + talk.answered[number] + talk.new(3)
    assert talk.scheduler.num_preemptions > 0
    assert batching == "window" or talk.scheduler.num_yields > 0
    assert talk.totals.offloaded_bytes > 0
    talk.check()


@every_mode
@pytest.mark.parametrize("num_steps", [0, 1, 2, 5])
def test_a_cancelled_turn_is_said_again(models: Models, batching: Batching, num_steps: int) -> None:
    talk = Conversations(models, batching, "offload")
    history = talk.say("a", talk.new(30)) + talk.new(40)
    talk.overrun()
    for _ in range(2):
        talk.submit("a", history, 20)
        talk.steps(num_steps)
        talk.engine.cancel(str(len(talk.asked) - 1))
        del talk.asked[-1], talk.answered[-1]
        talk.run()
        talk.overrun()
        talk.scheduler.parking.tell("a", None, 1.0)
    talk.say("a", history)
    talk.check()
