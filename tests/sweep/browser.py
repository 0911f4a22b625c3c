"""A headless Chromium driven over its debugging pipe: no network, no further library."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--window-size=1400,1000",
)
SECONDS = 60
START = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes answers to 4."""


class Page:
    """One page: load a file, run JavaScript in it, click, take pictures. Keeps what went wrong."""

    def __init__(self, process: subprocess.Popen, write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.problems: list[str] = []
        self.requested: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        return self._call(method, self._session, **parameters)

    def load(self, path: Path) -> None:
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.wait_for("document.readyState === 'complete'")

    def value(self, expression: str):
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        ends = time.monotonic() + SECONDS
        while not self.value(condition):
            assert time.monotonic() < ends, f"never true: {condition}"
            time.sleep(0.05)

    def mouse(self, kind: str, x: float, y: float, button: str = "left") -> None:
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1, buttons=1
        )

    def click(self, x: float, y: float) -> None:
        self.mouse("mouseMoved", x, y, "none")
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("mouseMoved", *start, "none")
        self.mouse("mousePressed", *start)
        for part in (0.3, 0.6, 1.0):
            self.mouse("mouseMoved", *(a + (b - a) * part for a, b in zip(start, end, strict=True)))
        self.mouse("mouseReleased", *end)

    def centre(self, script: str) -> tuple[float, float]:
        """The middle of an element on the screen, scrolled into view."""
        self.value(f"{script}.scrollIntoView({{block: 'center'}})")
        box = self.value(
            f"(() => {{ const b = {script}.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        return box[0], box[1]

    def picture(self, path: Path, *, whole: bool = True) -> None:
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, session: str | None = None, **parameters) -> dict:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict:
        ends = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], max(0, ends - time.monotonic()))[0], "silent"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict) -> None:
        match event.get("method"), event.get("params", {}):
            case "Runtime.exceptionThrown", parameters:
                self.problems.append(str(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled", {"type": "error" | "warning", **rest}:
                self.problems.append(str(rest.get("args")))
            case "Log.entryAdded", {"entry": {"level": "error", **rest}}:
                self.problems.append(str(rest))
            case "Network.requestWillBeSent", {"request": {"url": url}}:
                self.requested.append(url)


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start Chromium with a profile in `folder`; end it, whatever happens."""
    to_browser, ours = os.pipe()
    read, from_browser = os.pipe()
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(to_browser), str(from_browser), *command],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(process, ours, read)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(read)
