"""A headless Chromium, driven through its DevTools protocol: what a page draws, says and asks the network for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

# Where a browser is asked for by name it must be there; elsewhere what there is serves.
CHROMIUM = os.environ.get("ABATCH_TEST_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""Where it is; None where there is none."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_START_S = 60.0


class Page:
    """A tab. Everything that its console says and every request that it makes is kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listener = asyncio.create_task(self._listen())
        self.complaints: list[str] = []
        """Errors and warnings: of the console, of scripts, of the browser about the page."""
        self.requests: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        message = await asyncio.wait_for(answer, 60)
        assert "error" not in message, f"{method}: {message['error']}"
        result: dict[str, Any] = message["result"]
        return result

    async def _listen(self) -> None:
        async for raw in self._socket:
            message = json.loads(raw.data)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(part.get("value", part)) for part in said["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"].get("exception", said["exceptionDetails"])))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.complaints.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])

    async def open(self, path: Path) -> None:
        """Load a file, and wait until the report in it has drawn everything."""
        await self.call("Page.navigate", url=path.as_uri())
        await self.until("document.documentElement?.dataset.ready === '1'")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, as JSON has it."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, within_s: float = 60.0) -> None:
        """Wait for an expression to be true."""
        for _ in range(round(within_s / 0.02)):
            if await self.evaluate(expression):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never true: {expression}; {self.complaints}")

    async def resize(self, width: int, height: int) -> None:
        """The size of the window, in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def prefer(self, scheme: str) -> None:
        """`light` or `dark`, as the system of a reader would."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def hover(self, selector: str, across: float = 0.5, down: float = 0.5) -> None:
        """Put the mouse on an element, at these shares of its width and height."""
        x, y = await self._point(selector, across, down)
        for offset in (2, 0):
            await self._mouse("mouseMoved", x + offset, y)
        await self._drawn()

    async def click(self, selector: str, times: int = 1) -> None:
        """Press and let go of the left button on the middle of an element."""
        x, y = await self._point(selector, 0.5, 0.5)
        for number in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                await self._mouse(kind, x, y, button="left", clickCount=number)

    async def drag(self, selector: str, start: float, end: float) -> None:
        """Press the left button at a share of an element's width, and let go at another."""
        x, y = await self._point(selector, start, 0.5)
        until_x, _ = await self._point(selector, end, 0.5)
        await self._mouse("mouseMoved", x, y)
        await self._mouse("mousePressed", x, y, button="left", clickCount=1)
        for step in range(1, 6):
            await self._mouse("mouseMoved", x + (until_x - x) * step / 5, y, button="left", buttons=1)
        await self._mouse("mouseReleased", until_x, y, button="left", clickCount=1)
        await self._drawn()

    async def _mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def _drawn(self) -> None:
        await self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def press(self, key: str) -> None:
        """A key of the keyboard, on what has the focus."""
        text = "\r" if key == "Enter" else ""
        code = 13 if key == "Enter" else 0
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def picture(self) -> bytes:
        """What is to be seen, as a PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def _point(self, selector: str, across: float, down: float) -> tuple[float, float]:
        box = await self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = found.getBoundingClientRect(); return [box.left, box.top, box.width, box.height] })()"
        )
        left, top, width, height = box
        return left + across * width, top + down * height

    async def close(self) -> None:
        """Let go of it."""
        await self._socket.close()
        self._listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listener


@contextlib.asynccontextmanager
async def open_browser(folder: Path) -> AsyncIterator[Page]:
    """A page of a browser of its own, with nothing in it. `folder`: empty, for its profile."""
    process = _start(folder)
    try:
        port = await asyncio.to_thread(_port, process, folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as response:
                targets = await response.json()
            address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
            async with http.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                await page.resize(1240, 900)
                yield page
                await page.close()
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    assert CHROMIUM is not None
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _port(process: subprocess.Popen[bytes], path: Path) -> int:
    """The port that the browser writes down once it listens."""
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(path.read_text().splitlines()[0])
        assert process.poll() is None, "the browser ended by itself"
        time.sleep(0.05)
    raise AssertionError("the browser does not listen")
