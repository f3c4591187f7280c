"""What prompts say: who shares a prefix with whom, and how long it is."""

from __future__ import annotations

import pytest
from abatch.engine.protocol.conversation import ChatMessage, ContentPart
from abatch.workloads.conversation import Conversation, PromptWriter
from abatch.workloads.session import BlockPrompt, MessagePrompt, Session, SharedPrefix, Turn
from abatch.workloads.targets.prompts import WORDS, PromptSizer, salted_vocabulary

_PREFIX = SharedPrefix("agent", 20)


def conversation(
    *turns: Turn,
    name: str = "a",
    prefix: SharedPrefix | None = None,
    seed: int = 0,
    sizer: PromptSizer | None = None,
    salt: str = "",
) -> list[list[str]]:
    """The messages each turn sends, the server always saying ok."""
    session = Session(name, "test", turns, prefix)
    talk = Conversation(session, PromptWriter(seed, sizer or PromptSizer(), salt))
    sent = []
    for turn in turns:
        talk.ask(turn)
        sent.append([str(message.content) for message in talk.messages])
        talk.answer("ok")
    return sent


def num_words(messages: list[str]) -> int:
    return sum(len(message.split()) for message in messages)


def test_each_turn_repeats_the_conversation_so_far() -> None:
    first, second = conversation(Turn(5, 1), Turn(7, 1))
    assert second[:2] == [*first, "ok"]
    assert num_words(second) == 5 + 1 + 7


def test_the_prefix_is_shared_and_the_rest_is_not() -> None:
    (ours,), (theirs,) = (conversation(Turn(5, 1), name=name, prefix=_PREFIX) for name in "ab")
    (one,), (other,) = ours, theirs
    assert one.split()[:20] == other.split()[:20]
    assert one.split()[20:] != other.split()[20:]
    assert conversation(Turn(5, 1), prefix=_PREFIX, seed=1)[0][0].split()[:20] != one.split()[:20]


def test_what_the_template_adds_comes_off_the_first_message() -> None:
    sizer = PromptSizer(tokens_per_word=2.0, overhead_tokens=4.0)
    assert [num_words(messages) for messages in conversation(Turn(10, 1), Turn(10, 1), sizer=sizer)] == [3, 3 + 1 + 5]
    assert num_words(conversation(Turn(10, 1), prefix=_PREFIX, sizer=sizer)[0]) == 8 + 5


def test_a_compaction_keeps_the_prefix_only() -> None:
    first, second, third = conversation(Turn(9, 1), Turn(6, 1, compacts=True), Turn(4, 1), prefix=_PREFIX)
    assert len(second) == 1
    assert second[0].split()[:20] == first[0].split()[:20]
    assert num_words(second) == 26
    assert third[:2] == [*second, "ok"]


def test_recorded_text_is_said() -> None:
    assert conversation(Turn(1, 1, text="hello"), Turn(1, 1, text="again"))[1] == ["hello", "ok", "again"]
    messages = (ChatMessage(role="system", content="be kind"), ChatMessage(role="user", content="hello"))
    turn = Turn(1, 1, prompt=MessagePrompt(messages))
    assert conversation(turn, turn) == [["be kind", "hello"]] * 2


def test_equal_blocks_are_equal_text_within_a_scope() -> None:
    def words(*turns: Turn, name: str = "a") -> list[list[str]]:
        return [messages[0].split() for messages in conversation(*turns, name=name)]

    full = BlockPrompt("trace", 8, 20, (1, 2, 3))
    (ours,) = words(Turn(20, 1, prompt=full))
    assert len(ours) == 20
    (theirs,) = words(Turn(24, 1, prompt=BlockPrompt("trace", 8, 24, (1, 2, 3))), name="b")
    assert theirs[:20] == ours, "a block cut short is the beginning of the whole one"
    (elsewhere,) = words(Turn(20, 1, prompt=BlockPrompt("other", 8, 20, (1, 2, 3))))
    assert elsewhere[:8] != ours[:8]
    kept = words(Turn(20, 1, prompt=full), Turn(30, 1, prompt=BlockPrompt("trace", 8, 30, (9, 5), kept=2)))[1]
    assert kept[:16] == ours[:16]
    assert kept[16:] != ours[16:]
    assert len(kept) == 30


def test_all_kinds_of_prompts_are_the_same_again_under_the_same_seed() -> None:
    turns = (Turn(5, 1), Turn(5, 1, prompt=BlockPrompt("t", 8, 20, (1, 2, 3))), Turn(6, 1, compacts=True))
    assert conversation(*turns, prefix=_PREFIX) == conversation(*turns, prefix=_PREFIX)


_EVERY_KIND = (
    Turn(5, 1),
    Turn(7, 1),
    Turn(6, 1, compacts=True),
    Turn(20, 1, prompt=BlockPrompt("t", 8, 20, (1, 2, 3))),
)


@pytest.mark.parametrize("sizer", [PromptSizer(), PromptSizer(tokens_per_word=1.3, overhead_tokens=4.0)])
@pytest.mark.parametrize("prefix", [None, _PREFIX])
def test_another_salt_is_other_text_of_the_same_length(prefix: SharedPrefix | None, sizer: PromptSizer) -> None:
    one, same, other = (conversation(*_EVERY_KIND, prefix=prefix, sizer=sizer, salt=salt) for salt in ("x", "x", "y"))
    assert one == same != other
    assert [[*map(len, messages)] for messages in one] == [[*map(len, messages)] for messages in other]
    for ours, theirs in zip(one, other, strict=True):
        assert ours[0].split()[:4] != theirs[0].split()[:4], "what a prefix cache sees first"


def test_salts_change_most_words_and_no_length() -> None:
    assert salted_vocabulary("") is WORDS
    for salt in map(str, range(20)):
        vocabulary = salted_vocabulary(salt)
        assert sorted(vocabulary) == sorted(WORDS)
        assert [*map(len, vocabulary)] == [*map(len, WORDS)]
        assert sum(ours == theirs for ours, theirs in zip(vocabulary, WORDS, strict=True)) < 0.15 * len(WORDS)
    assert len({salted_vocabulary(str(salt)) for salt in range(200)}) == 200


def test_sessions_of_one_salt_share_their_prefix() -> None:
    (ours,), (theirs,) = (conversation(Turn(5, 1), name=name, prefix=_PREFIX, salt="x") for name in "ab")
    assert ours[0].split()[:20] == theirs[0].split()[:20]
    assert ours[0].split()[20:] != theirs[0].split()[20:]
    blocks = Turn(20, 1, prompt=BlockPrompt("trace", 8, 20, (1, 2, 3)))
    assert conversation(blocks, name="a", salt="x") == conversation(blocks, name="b", salt="x")


def test_recorded_text_begins_with_words_of_the_salt() -> None:
    first, second = conversation(Turn(1, 1, text="hello there"), Turn(1, 1, text="again"), salt="x")
    (again,) = conversation(Turn(1, 1, text="hello world"), name="b", salt="x")
    mark = first[0].removesuffix("\n\nhello there")
    assert len(mark.split()) == 4
    assert again == [f"{mark}\n\nhello world"], "what sessions share is still shared"
    assert second == [first[0], "ok", "again"], "once in a conversation"
    assert conversation(Turn(1, 1, text="hello there"), salt="y")[0] != first

    system = ChatMessage(role="system", content="be kind")
    parts = ChatMessage(role="user", content=[ContentPart("text", "hello")])
    writer = PromptWriter(0, PromptSizer(), "x")
    assert writer.marked_messages([system, parts]) == [ChatMessage(role="system", content=f"{mark}\n\nbe kind"), parts]
    (marked,) = writer.marked_messages([parts])
    assert marked.content == [ContentPart("text", mark), ContentPart("text", "hello")]
    assert conversation(Turn(1, 1, prompt=MessagePrompt((system, parts))), salt="x")[0][0] == f"{mark}\n\nbe kind"


def test_blocks_of_a_fraction_of_a_token_add_up() -> None:
    prompt = BlockPrompt("trace", 6.4, 640, tuple(range(100)))
    for tokens_per_word in (1.0, 1.3):
        (messages,) = conversation(Turn(640, 1, prompt=prompt), sizer=PromptSizer(tokens_per_word=tokens_per_word))
        assert num_words(messages) == round(640 / tokens_per_word)


def test_how_many_tokens_a_prompt_has_at_least() -> None:
    def least(*turns: Turn, prefix: SharedPrefix | None = None, is_measured: bool = True) -> list[int | None]:
        sizer = PromptSizer(is_measured=is_measured)
        talk = Conversation(Session("a", "test", turns, prefix), PromptWriter(0, sizer))
        found = []
        for turn in turns:
            talk.ask(turn)
            found.append(talk.least_tokens)
            talk.answer("and so on")
        return found

    turns = Turn(5, 1), Turn(7, 1), Turn(6, 1, compacts=True), Turn(1, 1)
    assert least(*turns) == [5, 12, 6, 7], "answers come on top"
    assert least(*turns, prefix=_PREFIX) == [25, 32, 26, 27]
    assert least(*turns, is_measured=False) == [None] * 4
    recorded = MessagePrompt((ChatMessage(role="user", content="hello"),))
    blocks = BlockPrompt("t", 8, 20, (1, 2, 3))
    assert least(Turn(9, 1, text="hello"), Turn(4, 1), Turn(9, 1, prompt=recorded), Turn(1, 1, prompt=blocks)) == [
        *(0, 4, 0, 20)
    ]
    too_few = BlockPrompt("t", 8, 200, (7,), kept=2)
    assert least(Turn(1, 1, prompt=blocks), Turn(1, 1, prompt=too_few)) == [20, 24], "what is there to be sent"


def test_prefixes_are_not_kept_for_ever() -> None:
    writer = PromptWriter(0, PromptSizer())
    texts = [writer.prefix(SharedPrefix(str(number), 5)) for number in range(400)]
    assert len(writer._prefixes) == 256
    assert writer.prefix(SharedPrefix("0", 5)) == texts[0]
