"""A stand-in for Wikimedia Commons on this machine: as much of MediaWiki's action API as a collector asks for.

Written after https://www.mediawiki.org/wiki/API:Query, API:Categorymembers, API:Imageinfo, API:Continue,
API:Errors_and_warnings, Manual:Maxlag_parameter and Extension:WikibaseMediaInfo/Data_Model/JSON; not after a
recording of the real one. It refuses what those pages forbid.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np
from PIL import Image

CONTACT = "tests@example.org"


def photo_bytes(seed: int, width: int = 64, height: int = 48, kind: str = "JPEG") -> bytes:
    """A photo made on the spot; another seed gives another one."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(stream, kind)
    return stream.getvalue()


@dataclass
class MadeFile:
    """A file of the stand-in."""

    title: str
    body: bytes
    mime: str = "image/jpeg"
    width: int = 64
    height: int = 48
    categories: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)  # of extmetadata
    deleted: bool = False
    sha1: str = ""  # a wrong one
    thumbs: bool = True


@dataclass
class Fault:
    """What the next requests whose address contains `where` get instead of their answer."""

    where: str
    status: int = 200
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    cut: bool = False  # announce more than comes

    @staticmethod
    def error(code: str, times: int = 1, **headers: str) -> Fault:
        """An error in the API's own words."""
        body = json.dumps({"error": {"code": code, "info": f"made: {code}"}})
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return Fault("api.php", 200, body, names, times)


class MadeCommons:
    """The wiki: its files, its categories, what it was asked, and how it shall fail."""

    def __init__(self) -> None:
        self.files: dict[str, MadeFile] = {}
        self.categories: dict[str, list[str]] = {}  # title -> titles of the categories below it
        self.category_redirects: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.split = False  # give the properties of a batch in pieces
        self.page_size = 500  # members a batch at most, whatever is asked for
        self.asked: list[tuple[float, str, dict[str, str]]] = []  # moment, address, headers
        self.at_once = self.most_at_once = 0
        self.before_answer: Callable[[int], None] = lambda count: None
        self.host = ""
        self.lock = threading.Lock()

    @property
    def api(self) -> str:
        return f"{self.host}/w/api.php"

    def add(self, title: str, *categories: str, seed: int | None = None, **options: Any) -> MadeFile:
        """A photo with a free licence and an author, unless told otherwise."""
        size = {key: options[key] for key in ("width", "height") if key in options}
        body = options.pop("body", None) or photo_bytes(len(self.files) if seed is None else seed, **size)
        extra = {"Artist": "Ada", "LicenseShortName": "CC BY-SA 4.0", "License": "cc-by-sa-4.0"}
        extra["LicenseUrl"] = "https://creativecommons.org/licenses/by-sa/4.0"
        extra.update(options.pop("extra", {}))
        self.files[title] = MadeFile(title, body, categories=categories, extra=extra, **options)
        for category in categories:
            self.categories.setdefault(category, [])
        return self.files[title]

    def pageid(self, title: str) -> int:
        return 1000 + list(self.files).index(title)

    def count(self, where: str) -> int:
        """How often an address with these letters was asked for."""
        return sum(where in unquote(address) for _, address, _ in self.asked)

    # The API ---------------------------------------------------------------------------------------------------------

    def answer(self, params: dict[str, str]) -> dict[str, Any]:
        if params.get("format") != "json" or params.get("formatversion") != "2" or params.get("maxlag") != "5":
            return {"error": {"code": "badvalue", "info": "format, formatversion or maxlag"}}
        if params["action"] == "wbgetentities":
            return self._entities(params["ids"].split("|"))
        if params["action"] != "query":
            return {"error": {"code": "badvalue", "info": f'Unrecognized value for parameter "action": {params}'}}
        return self._members(params) if "generator" in params else self._category_info(params["titles"])

    def _category_info(self, title: str) -> dict[str, Any]:
        name = title.removeprefix("Category:")
        name = self.category_redirects.get(name, name)
        page: dict[str, Any] = {"ns": 14, "title": f"Category:{name}"}
        if name not in self.categories:
            page["missing"] = True
        else:
            size = len(self.categories[name]) + sum(name in file.categories for file in self.files.values())
            page |= {"pageid": 1, "categoryinfo": {"size": size, "files": size, "subcats": 0, "hidden": False}}
        return {"batchcomplete": True, "query": {"pages": [page]}}

    def _members(self, params: dict[str, str]) -> dict[str, Any]:
        limit = int(params["gcmlimit"])
        if limit > 50:
            return {"error": {"code": "toomanyvalues", "info": "imageinfo scales fifty files at most"}}
        name = params["gcmtitle"].removeprefix("Category:")
        titles = [f"Category:{below}" for below in self.categories.get(name, ())]
        titles += [f"File:{title}" for title, file in self.files.items() if name in file.categories]
        start = int(params.get("gcmcontinue", "file|0").partition("|")[2])
        end = start + min(limit, self.page_size)
        first_half = self.split and "iicontinue" not in params
        pages = [self._page(title, params, not first_half) for title in titles[start:end]]
        answer: dict[str, Any] = {"query": {"pages": pages}} if pages else {}
        if first_half and pages:
            gcm = {"gcmcontinue": f"file|{start}"} if start else {}
            return {**answer, "continue": {**gcm, "iicontinue": "a|1", "continue": "gcmcontinue||categories"}}
        answer["batchcomplete"] = True
        if end < len(titles):
            answer["continue"] = {"gcmcontinue": f"file|{end}", "continue": "gcmcontinue||"}
        return answer

    def _page(self, title: str, params: dict[str, str], info: bool) -> dict[str, Any]:
        if title.startswith("Category:"):
            return {"pageid": 1 + list(self.categories).index(title[9:]), "ns": 14, "title": title}
        file = self.files[title.removeprefix("File:")]
        page: dict[str, Any] = {"pageid": self.pageid(file.title), "ns": 6, "title": title}
        page["categories"] = [{"ns": 14, "title": f"Category:{category}"} for category in file.categories]
        if file.deleted:
            return {"ns": 6, "title": title, "missing": True}
        if not info:
            return page
        entry: dict[str, Any] = {
            "user": "Uploader",
            "size": len(file.body),
            "width": file.width,
            "height": file.height,
            "sha1": file.sha1 or hashlib.sha1(file.body).hexdigest(),
            "mime": file.mime,
            "url": f"{self.host}/images/{quote(file.title)}",
            "descriptionurl": f"{self.host}/wiki/File:{quote(file.title)}",
            "extmetadata": {key: {"value": value, "source": "made"} for key, value in file.extra.items()},
        }
        wanted = int(params.get("iiurlwidth", 0))
        if wanted:
            smaller = file.thumbs and wanted < file.width
            entry["thumburl"] = f"{self.host}/thumb/{wanted}px-{quote(file.title)}" if smaller else entry["url"]
            entry |= {"thumbwidth": min(wanted, file.width), "thumbheight": 1, "thumbmime": "image/jpeg"}
        return {**page, "imageinfo": [entry]}

    def _entities(self, ids: list[str]) -> dict[str, Any]:
        if len(ids) > 50:
            return {"error": {"code": "toomanyvalues", "info": "fifty at most"}}
        entities: dict[str, Any] = {name: {"id": name, "missing": ""} for name in ids}
        for file in self.files.values():
            name = f"M{self.pageid(file.title)}"
            if name in entities:
                labels: Any = {code: {"language": code, "value": text} for code, text in file.labels.items()}
                entities[name] = {"id": name, "type": "mediainfo", "labels": labels or [], "statements": []}
        return {"entities": entities, "success": 1}

    def picture(self, path: str) -> tuple[bytes, str] | None:
        """The body and the MIME type at /images/… or /thumb/…."""
        name = unquote(path.rpartition("/")[2])
        if path.startswith("/images/") and name in self.files:
            return self.files[name].body, self.files[name].mime
        width, _, name = name.partition("px-")
        if path.startswith("/thumb/") and name in self.files:
            file = self.files[name]
            with Image.open(io.BytesIO(file.body)) as image:
                stream = io.BytesIO()
                image.resize((int(width), int(width) * image.height // image.width)).save(stream, "JPEG")
            return stream.getvalue(), "image/jpeg"
        return None


@contextmanager
def serving(wiki: MadeCommons) -> Iterator[MadeCommons]:
    """The wiki, answering on a port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(wiki))
    wiki.host = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wiki
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(wiki: MadeCommons) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            with wiki.lock:
                wiki.asked.append((time.monotonic(), self.path, dict(self.headers)))
                wiki.at_once += 1
                wiki.most_at_once = max(wiki.most_at_once, wiki.at_once)
                number = len(wiki.asked)
            try:
                wiki.before_answer(number)
                self._answer()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client was killed
            finally:
                with wiki.lock:
                    wiki.at_once -= 1

        def _answer(self) -> None:
            address = urlsplit(self.path)
            if CONTACT not in self.headers.get("User-Agent", ""):
                self._send(403, b"Please comply with the User-Agent policy", "text/plain")
                return
            with wiki.lock:
                fault = next((f for f in wiki.faults if f.where in unquote(self.path) and f.times), None)
                if fault:
                    fault.times -= 1
            if fault:
                body = fault.body if isinstance(fault.body, bytes) else fault.body.encode()
                kind = fault.headers.get("Content-Type", "application/json")
                headers = {key: value for key, value in fault.headers.items() if key != "Content-Type"}
                self._send(fault.status, body, kind, headers, cut=fault.cut)
            elif address.path == "/w/api.php":
                params = {key: values[0] for key, values in parse_qs(address.query).items()}
                with wiki.lock:
                    body = json.dumps(wiki.answer(params)).encode()
                self._send(200, body, "application/json; charset=utf-8")
            elif (picture := wiki.picture(address.path)) is not None:
                self._send(200, picture[0], picture[1])
            else:
                self._send(404, b"Not found", "text/html")

        def _send(
            self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None, cut: bool = False
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) + 1000 * cut))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler
