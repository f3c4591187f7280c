"""The engine in a process of its own: `python -m abatch.engine.hosting.engine_process FD`, started by `EngineClient`.

One thread owns the device and runs the step loop; one reads commands, one writes results. The HTTP side, with its
thousands of events a second, shares no interpreter lock with any of them.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..assembly.build import build_engine
from ..errors import AbatchError, RequestError
from ..loop.engine import Engine, TokenOutput
from ..loop.messages import (
    Cancel,
    EndSession,
    Failed,
    FromEngine,
    Outputs,
    Ping,
    Pong,
    Refused,
    SessionEnded,
    Start,
    Starting,
    Submit,
    Tell,
    ToEngine,
    Vocabulary,
    VocabularyLearnt,
    to_engine_decoder,
)
from ..loop.step_log import StepLog
from ..request import Constraint, FinishReason, Request
from .child_process import LENGTH, frame

if TYPE_CHECKING:
    from ..models.grammars.compiler import GrammarCompiler

Command = Submit | Cancel | Tell | EndSession | Vocabulary


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A request whose grammar has been compiled, or could not be."""

    submit: Submit
    constraint: Callable[[], Constraint]
    """Raises `RequestError` where it could not."""


_ORPHANED = None
"""Put on the command queue when the server's end of the socket is closed."""


class _Channel:
    """The engine's end of the socket: a queue of commands in, a queue of frames out, a thread for each."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self.commands: SimpleQueue[Command | _Compiled | None] = SimpleQueue()
        self._frames: SimpleQueue[bytes] = SimpleQueue()
        self.is_loading = True

    def receive(self) -> ToEngine | None:
        """The next message; None when the other end is gone."""
        try:
            header = self._reader.read(LENGTH.size)
            if len(header) < LENGTH.size:
                return None
            (length,) = LENGTH.unpack(header)
            body = self._reader.read(length)
        except ConnectionError:  # it went without reading all we sent
            return None
        return to_engine_decoder.decode(body) if len(body) == length else None

    def send_now(self, message: FromEngine) -> None:
        """Write a message and return once the kernel has it."""
        self._connection.sendall(frame(message))

    def send(self, message: FromEngine) -> None:
        """Queue a message for the writer thread: the step loop never waits for a slow reader."""
        self._frames.put(frame(message))

    def start_threads(self) -> None:
        """Begin to move messages in both directions."""
        for target in (self._read_commands, self._write_frames):
            threading.Thread(target=target, name=f"engine{target.__name__}", daemon=True).start()

    def _read_commands(self) -> None:
        try:
            while (message := self.receive()) is not None:
                assert not isinstance(message, Start)
                if isinstance(message, Ping):
                    self.send(Pong())  # from here: a step may take as long as it takes
                else:
                    self.commands.put(message)
        finally:
            if self.is_loading:
                os._exit(1)  # the server is gone; nothing could interrupt minutes of loading otherwise
            self.commands.put(_ORPHANED)

    def _write_frames(self) -> None:
        try:
            while True:
                self._connection.sendall(self._frames.get())
        except OSError:
            pass  # the server is gone, which the reader notices too
        finally:
            self.commands.put(_ORPHANED)


class _StepLoop:
    """Takes commands between steps and reports after each."""

    def __init__(self, engine: Engine, channel: _Channel, vocab_size: int) -> None:
        self._engine = engine
        self._channel = channel
        self._vocab_size = vocab_size
        self._compiler: GrammarCompiler | None = None
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine_grammars")
        self._compiling: set[str] = set()
        """Ids of requests that wait for their grammars."""
        self._reported = (0, 0, 0)

    def run(self) -> None:
        """Run until the server is gone."""
        while True:
            commands = self._take_commands()
            if _ORPHANED in commands:
                return
            outputs = [output for command in commands if command and (output := self._apply(command))]
            num_steps = self._engine.totals.num_steps
            if self._engine.idle_s() == 0.0:
                outputs += self._engine.step()
            stats = self._engine.stats()
            if commands or stats.totals.num_steps > num_steps or stats.parked != self._reported:
                self._channel.send(Outputs(outputs, stats))
                self._reported = stats.parked

    def _take_commands(self) -> list[Command | _Compiled | None]:
        """All commands that have arrived; waits for one while there is nothing else to do."""
        commands: list[Command | _Compiled | None] = []
        queue = self._channel.commands
        idle_s = self._engine.idle_s()
        try:
            if idle_s != 0.0:
                commands.append(queue.get(timeout=idle_s))
            while True:
                commands.append(queue.get_nowait())
        except Empty:
            return commands

    def _apply(self, command: Command | _Compiled) -> TokenOutput | None:
        """Carry out a command. Returns the output of a request that this ended."""
        engine = self._engine
        match command:
            case Cancel(request_id) if request_id in self._compiling:
                self._compiling.remove(request_id)
                return TokenOutput(request_id, None, finish_reason=FinishReason.CANCELLED)
            case Cancel(request_id):
                return engine.cancel(request_id)
            case Submit() if command.sampling.grammar:
                self._compile(command)
            case Submit():
                self._submit(command, None)
            case _Compiled(submit, constraint) if submit.request_id in self._compiling:
                self._compiling.remove(submit.request_id)
                self._submit(submit, constraint)
            case Vocabulary(tokenizer, end_token_ids):
                self._compiler = self._learn(tokenizer, end_token_ids)
            case Tell(session_id, tool, expected_pause_s):
                engine.tell(session_id, tool=tool, expected_pause_s=expected_pause_s)
            case EndSession(session_id):
                self._channel.send(SessionEnded(session_id, engine.end_session(session_id)))
        return None

    def _learn(self, tokenizer: str, end_token_ids: list[int]) -> GrammarCompiler:
        from ..models.grammars.compiler import GrammarCompiler  # llguidance: a simulated engine never needs it

        compiler = GrammarCompiler(tokenizer, self._vocab_size, end_token_ids)
        self._channel.send(VocabularyLearnt())
        return compiler

    def _compile(self, command: Submit) -> None:
        """Compile a request's grammar beside the steps, then submit it."""
        assert self._compiler is not None, "the server asks for grammars once it has sent its vocabulary"
        self._compiling.add(command.request_id)
        compiling = self._threads.submit(self._compiler.constraint, command.sampling.grammar)
        compiling.add_done_callback(lambda done: self._channel.commands.put(_Compiled(command, done.result)))

    def _submit(self, command: Submit, constraint: Callable[[], Constraint] | None) -> None:
        request = Request(command.request_id, command.prompt_ids, command.sampling, session=command.session)
        try:
            request.constraint = None if constraint is None else constraint()
            self._engine.submit(request)
        except RequestError as error:
            refused = Refused(command.request_id, str(error), error.param, error.status, error.code)
            self._channel.send(refused)


def main() -> None:
    """Serve the engine on the socket whose file descriptor is the first argument."""
    # Service managers send SIGTERM to every process there is. The server drains first, and decides when its engine
    # ends: by closing the socket.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = _Channel(socket.socket(fileno=int(sys.argv[1])))
    start = channel.receive()
    if not isinstance(start, Start):
        return
    channel.start_threads()
    step_log: StepLog | None = None
    try:
        with ExitStack() as files:
            if start.config.step_log is not None:
                step_log = files.enter_context(closing(StepLog(Path(start.config.step_log))))
            engine, ready = build_engine(
                start.config,
                on_step=step_log.add if step_log else None,
                on_progress=lambda what: channel.send_now(Starting(what)),
            )
            # A full collection looks at every object of torch and transformers: a quarter of a second, within a step.
            gc.collect()
            gc.freeze()
            channel.is_loading = False
            channel.send(ready)
            _StepLoop(engine, channel, ready.vocab_size).run()
    except AbatchError as error:
        if not channel.is_loading:
            raise
        if step_log is not None:
            step_log.discard()
        channel.send_now(Failed(str(error)))
        sys.exit(1)


if __name__ == "__main__":
    main()
