"""A real Chromium, driven over its pipe (--remote-debugging-pipe): no driver, no server, no further package."""

import json
import os
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of a headless Chromium. profile: folder that it keeps its storage in; downloads: where files go."""

    def __init__(self, profile: Path, downloads: Path):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
            "--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip

        def as_3_and_4():
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            command, preexec_fn=as_3_and_4, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.reading, self.writing = os.fdopen(ours_in, "rb", 0), os.fdopen(ours_out, "wb", 0)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        (page,) = [t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.session = None
        self.send("Browser.close")
        self.process.wait(20)
        self.reading.close()
        self.writing.close()

    def _message(self) -> dict:
        while b"\0" not in self.rest:
            more = self.reading.read(65536)
            assert more, "the browser ended"
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def send(self, method: str, **parameters) -> dict:
        self.number += 1
        content = {"id": self.number, "method": method, "params": parameters}
        content |= {"sessionId": self.session} if self.session else {}
        self.writing.write(json.dumps(content).encode() + b"\0")
        while (message := self._message()).get("id") != self.number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def wait(self, method: str, **having) -> dict:
        """The first event of this kind that was not waited for yet."""
        while True:
            for place, event in enumerate(self.events):
                parameters = event.get("params", {})
                if event["method"] == method and having.items() <= parameters.items():
                    return self.events.pop(place)["params"]
            self.events.append(self._message())

    def open(self, file: Path) -> None:
        self.send("Page.navigate", url=file.as_uri())
        self.wait("Page.loadEventFired")

    def run(self, script: str):
        """The value of an expression in the page."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, userGesture=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """One key on the keyboard, as a person presses it."""
        known = {
            "Enter": ("Enter", 13, "\r"),
            "Backspace": ("Backspace", 8, ""),
            "Tab": ("Tab", 9, ""),
            " ": ("Space", 32, " "),
        }
        code, number, text = known.get(key, (f"Digit{key}", ord(key[0]), key))
        about = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def saved(self) -> None:
        """Waits until the file that is being saved is whole."""
        self.wait("Browser.downloadProgress", state="completed")

    def requests(self) -> list[str]:
        """Addresses that the page asked for, but for what is in the file itself."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "blob:", "file:"))]

    def picture(self, path: Path) -> None:
        import base64

        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
