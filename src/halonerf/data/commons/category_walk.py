"""Files of a Commons category and its subcategories, breadth first; each response is stored before the next request."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from halonerf.data.commons.api import Api, ApiError, Batch
from halonerf.data.commons.filter import ENDINGS, PhotoNames
from halonerf.data.commons.media_file import METADATA_FIELDS, CommonsFile, without_namespace
from halonerf.data.commons.text import tidy_text
from halonerf.errors import BadInput
from halonerf.files import write_json

log = logging.getLogger(__name__)

PAGES_PER_REQUEST = 50  # the API's limit without login
MAX_BATCHES = 20_000  # of a category: a million files
FILE_NAMESPACE, CATEGORY_NAMESPACE = 6, 14


class CategoryWalk:
    """The files of a category and its subcategories.

    Args:
        api: client of the wiki.
        folder: stores the responses, so that a killed run resumes.
        category: title, with or without "Category:", or the address of its page.
        depth: levels of subcategories; 0: only the category's own files.
        skip: patterns (`*`, `?`) of titles of subcategories to leave out.
        width: px, of the scaled copies whose addresses are requested; 0: none.
        captions: request the short, structured captions too, one more request per fifty files.
    """

    def __init__(
        self, api: Api, folder: Path, category: str, depth: int, skip: Sequence[str], width: int, captions: bool
    ) -> None:
        self.api, self.folder, self.category = api, folder, category_title(category)
        self.depth, self.skip, self.width = depth, [pattern.casefold() for pattern in skip], width
        self.captions = captions
        folder.mkdir(parents=True, exist_ok=True)

    def files(self) -> Iterator[CommonsFile]:
        """Every file once, with its name in the collection, by increasing depth of its category.

        Raises: BadInput where there is no such category.
        """
        names, seen = PhotoNames(), set()
        root = self._root()
        queue: deque[tuple[str, ...]] = deque([(root,)])
        entered = {root}
        number = 0
        while queue:
            path = queue.popleft()
            below: list[str] = []
            continuation: dict[str, str] | None = {}
            followed: list[dict[str, str]] = []
            while continuation is not None:
                if continuation in followed or len(followed) >= MAX_BATCHES:
                    raise BadInput(
                        f"expected {self.api.url} to come to the end of the category '{path[-1]}', but after "
                        f"{len(followed)} batches it continues with {continuation}.\n"
                        f'Leave the category out: corpus.skip=["{path[-1]}"]'
                    )
                followed.append(continuation)
                batch = self._batch(number, path, continuation)
                number, continuation = number + 1, batch["continuation"]
                below += batch["below"]
                for entry in batch["files"]:
                    file = CommonsFile.from_json(entry)
                    key = file.pageid or file.title
                    if key not in seen:
                        seen.add(key)
                        yield _named(file, names, bool(self.width))
            for title in below if len(path) <= self.depth else ():
                if title not in entered and not self._skipped(title):
                    entered.add(title)
                    queue.append((*path, title))

    def _skipped(self, title: str) -> bool:
        return any(fnmatch.fnmatchcase(title.casefold(), pattern) for pattern in self.skip)

    def _root(self) -> str:
        """The category's title on the wiki, redirects followed."""
        stored = self.folder / "root.json"
        if not stored.is_file():
            batch = self.api.query(titles=f"Category:{self.category}", prop="categoryinfo", redirects=1)
            page: dict[str, Any] = batch.pages[0] if batch.pages else {}
            info = page.get("categoryinfo")
            size = info.get("size", 0) if isinstance(info, dict) else 0
            if (
                not isinstance(page.get("title"), str)
                or page.get("ns") != CATEGORY_NAMESPACE
                or (not size and (page.get("missing") or page.get("invalid")))
            ):
                raise BadInput(
                    f"expected a category called '{self.category}' at {self.api.url}, but there is none.\n"
                    'Give its exact title: corpus.category="Cologne Cathedral"'
                )
            write_json(stored, {"title": without_namespace(page["title"])})
        return str(json.loads(stored.read_text(encoding="utf-8"))["title"])

    def _batch(self, number: int, path: tuple[str, ...], continuation: dict[str, str]) -> dict[str, Any]:
        stored = self.folder / f"{number:06d}.json"
        if not stored.is_file():
            members = self._members(path[-1], continuation)
            files = [CommonsFile.from_page(page, path) for page in members.pages if page.get("ns") == FILE_NAMESPACE]
            captions = self._captions([file.pageid for file in files if file.pageid]) if self.captions else {}
            categories = (page.get("title") for page in members.pages if page.get("ns") == CATEGORY_NAMESPACE)
            below = [without_namespace(title) for title in categories if isinstance(title, str)]
            entry = {
                "path": path,
                "continuation": members.continuation,
                "below": below,
                "files": [{**file.to_json(), "captions": captions.get(file.pageid, {})} for file in files],
            }
            write_json(stored, entry)
            log.info("category '%s': %d files, %d subcategories", path[-1], len(files), len(below))
        return json.loads(stored.read_text(encoding="utf-8"))

    def _members(self, title: str, continuation: dict[str, str]) -> Batch:
        scaled: dict[str, str | int] = {"iiurlwidth": self.width} if self.width else {}
        return self.api.query(
            continuation,
            generator="categorymembers",
            gcmtitle=f"Category:{title}",
            gcmtype="file|subcat",
            gcmlimit=PAGES_PER_REQUEST,
            redirects=1,
            prop="imageinfo|categories",
            iiprop="url|size|sha1|mime|thumbmime|user|extmetadata",
            iiextmetadatamultilang=1,
            iiextmetadatafilter=METADATA_FIELDS,
            clshow="!hidden",
            cllimit="max",
            **scaled,
        )

    def _captions(self, pageids: Sequence[int]) -> dict[int, dict[str, str]]:
        """Structured captions by page id and language; wikis other than Commons may have none."""
        if not pageids:
            return {}
        try:
            response = self.api.request(action="wbgetentities", ids="|".join(f"M{i}" for i in pageids), props="labels")
        except ApiError as error:
            log.warning("no structured captions: %s", error)
            self.captions = self.captions and error.code not in ("badvalue", "unknown_action")
            return {}
        found = {}
        for name, entity in (response.get("entities") or {}).items():
            labels = entity.get("labels") if isinstance(entity, dict) else None
            texts = {
                tidy_text(str(code)): tidy_text(str(label.get("value", "")))
                for code, label in (labels if isinstance(labels, dict) else {}).items()  # [] where there are none
                if isinstance(label, dict)
            }
            if name[1:].isdecimal():
                found[int(name[1:])] = {code: text for code, text in texts.items() if text}
        return found


def category_title(text: str) -> str:
    """Title of a category given as a title, with or without "Category:" and underscores, or as its page's address."""
    title = unquote(text.rpartition("/wiki/")[2]) if "/wiki/" in text else text
    title = tidy_text(title.replace("_", " "))
    return title.partition(":")[2].strip() if title.casefold().startswith("category:") else title


def _named(file: CommonsFile, names: PhotoNames, scaled: bool) -> CommonsFile:
    mime = file.scaled_mime if scaled and file.scaled_url and file.scaled_mime in ENDINGS else file.mime
    return dataclasses.replace(file, name=names.give(file.title, mime, file.pageid)) if mime in ENDINGS else file
