"""Pages of other origins in Chromium, each with an SDK that is told what to send."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

from tests.sdks.clients import HERE, Client
from tests.sdks.story import Call
from tests.support.browser import browser

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
AWAKE = (  # pages that nobody looks at keep their timers; some SDKs send nothing for what looks like a robot
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", f"--user-agent={AGENT}",
)  # fmt: skip


def bundle(folder: Path) -> None:
    """Makes one script of each driver and its SDK."""
    drivers = [str(one.relative_to(HERE)) for one in (HERE / "browser").glob("*.js") if one.stem != "page"]
    command = ["node_modules/.bin/esbuild", *drivers, "--bundle", "--format=iife", f"--outdir={folder}"]
    subprocess.run([*command, "--log-level=warning"], check=True, cwd=HERE)


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A web server for `/<name>.html`, which loads `/<name>.js`; its port, on all names below `localhost`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, _, kind = self.path.lstrip("/").partition(".")
            script = folder / f"{name}.js"
            known = script.is_file()
            page = f"<!doctype html><title>Préface</title>{f'<script src={name}.js></script>' * known}".encode()
            body = script.read_bytes() if kind == "js" and known else page
            self.send_response(200)
            self.send_header("content-type", f"text/{'javascript' if kind == 'js' else 'html'}; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Pages:
    """A browser whose windows have an SDK each."""

    chrome: Chrome
    port: int
    windows: dict[str, str] = field(default_factory=dict)

    def tell(self, client: Client, host: str, calls: list[Call]) -> None:
        """Opens a page that makes the calls. It goes on by itself."""
        self.chrome.switch_to.new_window("window")
        if not client.more.get("leave"):
            self.windows[client.name] = self.chrome.current_window_handle
        self.chrome.get(f"http://{client.name}.localhost:{self.port}/{client.driver}.html")
        start = "tell(arguments[0]).catch(e => { window.told = String(e.stack ?? e) })"
        self.chrome.execute_script(start, client.job(host, calls))

    def told(self, seconds: float = 90) -> Mapping[str, Any]:
        """Waits until all pages have made their calls: True for each, or what went wrong."""
        deadline = time.monotonic() + seconds
        ends: dict[str, Any] = {}
        for name, window in self.windows.items():
            self.chrome.switch_to.window(window)
            while not (end := self.chrome.execute_script("return window.told")) and time.monotonic() < deadline:
                time.sleep(0.05)
            ends[name] = end
        return ends


@contextmanager
def pages(folder: Path) -> Iterator[Pages]:
    bundle(folder / "scripts")
    with serving(folder / "scripts") as port, browser(folder / "profile", *AWAKE) as chrome:
        yield Pages(chrome, port)
