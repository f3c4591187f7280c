"""What an answer says and which tools it calls, as it streams, for every API that has conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...protocol.chat import ChatCompletionRequest
from ...request import FinishReason
from ...session import SessionUse
from ..generation import TextDelta
from ..state import ServerState
from ..tools.formats import ToolFormat


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool, with the id that its result will name. `arguments` is the text of a JSON object."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """What a delta adds: text, then calls. The last part has the finish reason."""

    text: str
    calls: Sequence[ToolUse]
    finish_reason: FinishReason | None
    stop_string: str | None = None


class AnswerReader:
    """Reads one answer.

    Args:
        tools: How the model calls tools; None if it is not to call any: then all of it is text.
    """

    def __init__(self, tools: ToolFormat | None) -> None:
        self._tools = tools
        self._parser = None if tools is None else tools.parser()
        self.tool_names: list[str] = []
        """Of the calls so far."""

    def read(self, delta: TextDelta) -> AnswerPart:
        """The part of the answer that a delta completes."""
        if self._tools is None or self._parser is None:
            return AnswerPart(delta.text, (), delta.finish_reason, delta.stop_string)
        text, calls = self._parser.add(delta.text)
        if delta.finish_reason is not None:
            rest, last_calls = self._parser.flush()
            text, calls = text + rest, calls + last_calls
        self.tool_names += [call.name for call in calls]
        uses = [ToolUse(self._tools.call_id(), call.name, call.arguments) for call in calls]
        return AnswerPart(text, uses, delta.finish_reason, delta.stop_string)


def tools_of(body: ChatCompletionRequest, state: ServerState) -> ToolFormat | None:
    """How the answers to a request call tools; None if they are not to."""
    return state.tool_format if body.tools and body.tool_choice != "none" else None


def tell_of_tools(state: ServerState, session: SessionUse | None, names: Sequence[str]) -> None:
    """Say what a session will wait for. Several tools called at once are all waited for: they count as one tool."""
    if names and session is not None and session.next_tool is None:
        state.generator.engine.tell(session.session_id, tool="+".join(sorted(set(names)))[:256])
