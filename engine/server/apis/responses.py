"""`POST /v1/responses`, OpenAI's Responses API. Nothing is stored: each request brings its whole conversation."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from ...errors import RequestError
from ...protocol.responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputFunctionCall,
    OutputMessage,
    OutputText,
    OutputTokensDetails,
    Response,
    ResponseError,
    ResponsesRequest,
    ResponseUsage,
)
from ...protocol.responses_stream import (
    ArgumentsDeltaEvent,
    ArgumentsDoneEvent,
    ContentPartEvent,
    OutputItemEvent,
    OutputTextDeltaEvent,
    OutputTextDoneEvent,
    ResponseEvent,
)
from ...protocol.usage import Usage
from ...request import FinishReason
from ..exchange import read_body
from ..front.error_forms import error_body
from ..sessions import session_use
from ..state import STATE
from .answer_reader import AnswerPart, AnswerReader, ToolUse, tools_of
from .conversation import answers_to
from .responses_input import chat_request
from .single_answer import SingleAnswer

_decoder = msgspec.json.Decoder(ResponsesRequest)
_PARAMS = {"messages": "input", "prompt": "input", "max_tokens": "max_output_tokens", "response_format": "text.format"}
"""What the fields of chat completions are called here."""


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    state = request.app[STATE]
    body, num_bytes = await read_body(request, _decoder)
    state.check_request(body)
    session = session_use(request, body)
    chat, asked = await state.prepare(num_bytes, lambda: (chat_request(body), Asked.of(body)))
    try:
        specs = await answers_to(chat, num_bytes, state, session)
    except RequestError as error:
        error.param = _PARAMS.get(error.param or "", error.param)
        raise
    writer = ResponseWriter(body, asked, state.model_name)
    answer = SingleAnswer(specs, AnswerReader(tools_of(chat, state)), writer, state)
    return await (answer.stream(request) if body.stream else answer.whole())


@dataclass(frozen=True, slots=True)
class Asked:
    """What a response repeats of its request, as JSON."""

    instructions: msgspec.Raw
    tools: msgspec.Raw
    tool_choice: msgspec.Raw
    text: msgspec.Raw

    @classmethod
    def of(cls, body: ResponsesRequest) -> Asked:
        text_format = body.text.format if body.text is not None else None
        return cls(
            instructions=_raw(body.instructions),
            tools=_raw(body.tools or []),
            tool_choice=_raw("auto" if body.tool_choice is None else body.tool_choice),
            text=_raw({"format": {"type": "text"} if text_format is None else text_format}),
        )


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


class ResponseWriter:
    """Writes one response: its items, and the events that tell of them."""

    def __init__(self, body: ResponsesRequest, asked: Asked, model: str) -> None:
        self._body = body
        self._asked = asked
        self._model = model
        self._id = _new_id("resp")
        self._created_at = int(time.time())
        self._num_events = 0
        self._output: list[OutputMessage | OutputFunctionCall] = []
        self._message_id: str | None = None
        """Of the message that is open."""
        self._texts: list[str] = []
        """Of that message."""
        self._whole: Response | None = None
        self.num_characters = len(asked.tools) + len(asked.instructions)

    def begin(self, num_prompt_tokens: int, num_cached_tokens: int) -> Sequence[Struct]:
        response = self._response("in_progress")
        return [
            ResponseEvent(type="response.created", sequence_number=self._number(), response=response),
            ResponseEvent(type="response.in_progress", sequence_number=self._number(), response=response),
        ]

    def add(self, part: AnswerPart) -> Sequence[Struct]:
        self.num_characters += len(part.text)
        events: list[Struct] = []
        if part.text:
            if self._message_id is None:
                events += self._open_message()
            events.append(self._text_delta(part.text))
        for call in part.calls:
            self.num_characters += len(call.arguments)
            events += self._close_message("completed")
            events += self._call(call)
        return events

    def end(self, part: AnswerPart, usage: Usage) -> Sequence[Struct]:
        is_complete = part.finish_reason is not FinishReason.LENGTH
        status: Literal["completed", "incomplete"] = "completed" if is_complete else "incomplete"
        events = [*self._close_message(status)]
        self._whole = self._response(status, usage)
        kind: Literal["response.completed", "response.incomplete"] = (
            "response.completed" if is_complete else "response.incomplete"
        )
        events.append(ResponseEvent(type=kind, sequence_number=self._number(), response=self._whole))
        return events

    def fail(self, error: Exception) -> Sequence[Struct]:
        events = [*self._close_message("incomplete")]
        response = self._response("failed")
        response.error = ResponseError("server_error", error_body(error)[0].error.message)
        return [*events, ResponseEvent(type="response.failed", sequence_number=self._number(), response=response)]

    def whole(self) -> Struct:
        assert self._whole is not None, "the answer has not ended"
        return self._whole

    def _number(self) -> int:
        self._num_events += 1
        return self._num_events - 1

    def _open_message(self) -> list[Struct]:
        self._message_id, self._texts = _new_id("msg"), []
        index = len(self._output)
        item = OutputMessage(id=self._message_id, status="in_progress", content=[])
        return [
            OutputItemEvent(
                type="response.output_item.added", sequence_number=self._number(), output_index=index, item=item
            ),
            ContentPartEvent(
                type="response.content_part.added",
                sequence_number=self._number(),
                item_id=self._message_id,
                output_index=index,
                part=OutputText(text=""),
            ),
        ]

    def _text_delta(self, text: str) -> Struct:
        assert self._message_id is not None
        self._texts.append(text)
        return OutputTextDeltaEvent(
            sequence_number=self._number(), item_id=self._message_id, output_index=len(self._output), delta=text
        )

    def _close_message(self, status: Literal["completed", "incomplete"]) -> list[Struct]:
        """Nothing if none is open."""
        if (item_id := self._message_id) is None:
            return []
        self._message_id = None
        index = len(self._output)
        part = OutputText(text="".join(self._texts))
        item = OutputMessage(id=item_id, status=status, content=[part])
        self._output.append(item)
        return [
            OutputTextDoneEvent(sequence_number=self._number(), item_id=item_id, output_index=index, text=part.text),
            ContentPartEvent(
                type="response.content_part.done",
                sequence_number=self._number(),
                item_id=item_id,
                output_index=index,
                part=part,
            ),
            OutputItemEvent(
                type="response.output_item.done", sequence_number=self._number(), output_index=index, item=item
            ),
        ]

    def _call(self, call: ToolUse) -> list[Struct]:
        index = len(self._output)
        item_id = _new_id("fc")
        item = OutputFunctionCall(
            id=item_id, call_id=call.call_id, name=call.name, arguments=call.arguments, status="completed"
        )
        begun = replace(item, arguments="", status="in_progress")
        self._output.append(item)
        return [
            OutputItemEvent(
                type="response.output_item.added", sequence_number=self._number(), output_index=index, item=begun
            ),
            ArgumentsDeltaEvent(
                sequence_number=self._number(), item_id=item_id, output_index=index, delta=call.arguments
            ),
            ArgumentsDoneEvent(
                sequence_number=self._number(),
                item_id=item_id,
                output_index=index,
                name=call.name,
                arguments=call.arguments,
            ),
            OutputItemEvent(
                type="response.output_item.done", sequence_number=self._number(), output_index=index, item=item
            ),
        ]

    def _response(
        self, status: Literal["in_progress", "completed", "incomplete", "failed"], usage: Usage | None = None
    ) -> Response:
        body = self._body
        return Response(
            id=self._id,
            created_at=self._created_at,
            completed_at=int(time.time()) if status == "completed" else None,
            status=status,
            incomplete_details=IncompleteDetails("max_output_tokens") if status == "incomplete" else None,
            model=self._model,
            output=list(self._output),
            usage=None if usage is None else _usage(usage),
            instructions=self._asked.instructions,
            tools=self._asked.tools,
            tool_choice=self._asked.tool_choice,
            text=self._asked.text,
            max_output_tokens=body.max_output_tokens,
            metadata=body.metadata or {},
            parallel_tool_calls=body.parallel_tool_calls is not False,
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            user=body.user,
        )


def _usage(usage: Usage) -> ResponseUsage:
    details = usage.prompt_tokens_details
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(details.cached_tokens if details is not None else 0),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetails(),
        total_tokens=usage.total_tokens,
    )
