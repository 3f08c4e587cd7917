"""A category of Wikimedia Commons as a corpus and scene source: downloads its photos with metadata and licences.

photos/           the photos
records.csv …     the collection (`halonerf.data.collection`)
attribution.csv   author, licence and source of every photo (`halonerf.data.commons.attribution`)
captions.csv      every caption and description with its language
downloads.csv     address and checksums of every photo
left_out.csv      files of the category that are not in the collection, with the reason
progress/         until it is finished: the wiki's responses, and the outcome for each file
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from annotated_types import MinLen

from halonerf import __version__
from halonerf.config.option_types import NonNegativeFloat, NonNegativeInt, PositiveFloat, Text
from halonerf.data.collection import write_collection
from halonerf.data.commons.api import Api
from halonerf.data.commons.attribution import Attribution, write_attribution
from halonerf.data.commons.category_walk import CategoryWalk, category_title
from halonerf.data.commons.download import Downloads, Outcome
from halonerf.data.commons.filter import FREE_LICENCES, Kind, PhotoFilter
from halonerf.data.commons.http_client import PoliteHttp
from halonerf.data.commons.media_file import CommonsFile
from halonerf.errors import BadInput
from halonerf.files import write_csv, write_json
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)

PHOTOS = "photos"


class Commons:
    """A `PhotoCorpus`: photos of a category and its subcategories, with their captions and categories.

    Args:
        category: title of the category, or the address of its page.
        contact: an e-mail address or a web page, sent with every request, so that the wiki's staff can reach you.
        name: of the collection; empty takes the category's.
        depth: levels of subcategories.
        skip: patterns (`*`, `?`) of titles of subcategories to leave out.
        photos: at most; 0: all.
        width: px, of the scaled copies that are downloaded instead of larger originals; 0: originals.
        kinds: MIME types of photos.
        min_pixels, max_pixels: width x height of the original; 0: no limit.
        min_bytes, max_bytes: of the download; 0: no limit.
        licences: see `halonerf.data.commons.filter.PhotoFilter`; empty: any, also none.
        captions: fetch the short, structured captions too.
        concepts: to be segmented; empty: the stage `segment` decides.
        building_type: such as "cathedral"; empty where unknown.
        snapshot: any text, such as a date; another text makes a new collection, since categories grow.
        rate, timeout, retries, pause, patience: see `halonerf.data.commons.http_client.PoliteHttp`.
        maxlag: see `halonerf.data.commons.api.Api`.
        api: address of the wiki's `api.php`.

    Raises: BadInput for contradictory options.
    """

    resumes = True  # a `ResumableSource`

    def __init__(
        self,
        category: Text,
        contact: str = "",
        name: str = "",
        depth: NonNegativeInt = 3,
        skip: Sequence[Text] = (),
        photos: NonNegativeInt = 0,
        width: NonNegativeInt = 1920,
        kinds: Annotated[Sequence[Kind], MinLen(1)] = ("image/jpeg", "image/png", "image/webp"),
        min_pixels: NonNegativeInt = 300_000,
        max_pixels: NonNegativeInt = 150_000_000,
        min_bytes: NonNegativeInt = 0,
        max_bytes: NonNegativeInt = 100_000_000,
        licences: Sequence[Text] = FREE_LICENCES,
        captions: bool = True,
        concepts: Sequence[Text] = (),
        building_type: str = "",
        snapshot: str = "",
        rate: PositiveFloat = 1.0,
        timeout: PositiveFloat = 60.0,
        retries: NonNegativeInt = 8,
        pause: NonNegativeFloat = 5.0,
        patience: NonNegativeFloat = 600.0,
        maxlag: NonNegativeInt = 5,
        api: Text = "https://commons.wikimedia.org/w/api.php",
    ) -> None:
        self.category = category_title(category)
        if not self.category:
            raise BadInput(
                f"expected the title of a category, got '{category}'.\n"
                'Give one: halonerf stage=collect corpus=commons corpus.category="Cologne Cathedral"'
            )
        self.name = name or self.category
        self.contact, self.api, self.snapshot = contact.strip(), api, snapshot
        self.depth, self.skip, self.photos, self.width = depth, tuple(skip), photos, width
        self.captions, self.concepts, self.building_type = captions, tuple(concepts), building_type
        self.filter = PhotoFilter(kinds, min_pixels, max_pixels, min_bytes, max_bytes, licences, width > 0)
        self.rate, self.timeout, self.retries, self.pause, self.patience = rate, timeout, retries, pause, patience
        self.maxlag = maxlag

    def identity(self) -> str:
        """Digest of the options. The category's contents are not known before they are fetched: see `snapshot`."""
        chosen = self.filter
        options = [self.api, self.category, self.name, self.depth, self.skip, self.photos, self.width, chosen.kinds]
        options += [chosen.pixels, chosen.bytes, chosen.licences, self.captions, self.concepts, self.building_type]
        return hashlib.sha256(json.dumps([*options, self.snapshot]).encode()).hexdigest()

    def records(self) -> Iterator[ImageRecord]:
        """Metadata of the files that pass the filters; downloads no photos.

        Raises: BadInput where the contact or the category is missing, or the wiki does not respond.
        """
        with tempfile.TemporaryDirectory() as folder:
            files = self._walk(self._http(), Path(folder)).files()
            chosen = (file for file in files if not self.filter.problem(file))
            for number, file in enumerate(chosen, start=1):
                yield self._record(file)
                if number == self.photos:
                    return

    def collect(self, folder: Path) -> None:
        """Write the collection; resume what a killed run left of it in `folder`.

        Raises: BadInput where the contact or the category is missing, no photo passes the filters, or the wiki does
            not respond.
        """
        http, progress = self._http(), folder / "progress"
        progress.mkdir(exist_ok=True)
        self._claim(progress / "options.json")
        walk = self._walk(http, progress / "responses")
        expected = sum(not self.filter.problem(file) for file in walk.files())
        expected = min(expected, self.photos) if self.photos else expected
        downloads = Downloads(http, folder / PHOTOS, progress / "photos.jsonl", self.filter.bytes)
        stored: list[tuple[CommonsFile, Outcome]] = []
        left_out: list[tuple[CommonsFile, str]] = []
        titles: dict[str, str] = {}  # by SHA-1
        for file in walk.files():
            if self.photos and len(stored) == self.photos:
                break
            problem = self.filter.problem(file)
            if not problem and file.sha1 and titles.setdefault(file.sha1, file.title) != file.title:
                problem = f"duplicate: the same file as {titles[file.sha1]}"
            outcome = Outcome(file.pageid, problem) if problem else downloads.fetch(file, self.width > 0, expected)
            if outcome.problem:
                left_out.append((file, outcome.problem))
            else:
                stored.append((file, outcome))
        downloads.finalise()
        if not stored:
            reasons = Counter(problem for _, problem in left_out).most_common(5)
            raise BadInput(
                f"expected photos in the category '{self.category}', got none of {len(left_out)} files: "
                f"{'; '.join(f'{count} x {problem}' for problem, count in reasons) or 'it is empty'}.\n"
                "Widen the selection with: corpus.depth, corpus.licences, corpus.min_pixels, corpus.max_bytes"
            )
        self._write(folder, sorted(stored, key=lambda pair: pair[0].name), left_out)
        log.info("%d photos stored, %d files left out (see left_out.csv)", len(stored), len(left_out))
        shutil.rmtree(progress)

    def _http(self) -> PoliteHttp:
        if not re.search(r"[^\s@]+@[^\s@]+\.[^\s@]+|https?://\S+\.\S+", self.contact) or not self.contact.isprintable():
            raise BadInput(
                "expected your e-mail address or web page, which Wikimedia's user agent policy demands in requests, "
                f"got '{self.contact}'.\nGive it with: corpus.contact=you@example.org"
            )
        contact = self.contact.encode("ascii", errors="replace").decode()
        agent = f"halonerf/{__version__} ({contact})"
        return PoliteHttp(agent, self.rate, self.timeout, self.retries, self.pause, self.patience, self.api)

    def _walk(self, http: PoliteHttp, folder: Path) -> CategoryWalk:
        api = Api(http, self.api, self.maxlag)
        return CategoryWalk(api, folder, self.category, self.depth, self.skip, self.width, self.captions)

    def _claim(self, path: Path) -> None:
        """Record the options in `path`.

        Raises: BadInput where a run with other options has begun the folder.
        """
        if path.is_file() and json.loads(path.read_text(encoding="utf-8"))["identity"] != self.identity():
            raise BadInput(
                f"expected {path.parent.parent} to be empty or left by a run with the same options, but a run with "
                "other options began it.\nCollect into another folder, or delete it."
            )
        write_json(path, {"identity": self.identity(), "category": self.category})

    def _record(self, file: CommonsFile) -> ImageRecord:
        return ImageRecord(
            image_id=file.name,
            landmark=file.path[0],
            filename=file.title,
            caption="\n".join(text for _, _, text in file.texts()),
            categories=file.all_categories(),
            building_type=self.building_type,
        )

    def _write(
        self, folder: Path, stored: Sequence[tuple[CommonsFile, Outcome]], left_out: Sequence[tuple[CommonsFile, str]]
    ) -> None:
        write_attribution(folder, [_attribution(file, outcome) for file, outcome in stored])
        fields: tuple[str, ...] = ("photo", "kind", "language", "text")
        captions = [(file.name, *text) for file, _ in stored for text in file.texts()]
        write_csv(
            folder / "captions.csv", fields, [dict(zip(fields, row, strict=True)) for row in captions], escape=True
        )
        downloads = [
            {"photo": file.name, "pageid": file.pageid, "original_sha1": file.sha1, **outcome._asdict()}
            for file, outcome in stored
        ]
        fields = ("photo", "pageid", "url", "bytes", "width", "height", "sha256", "original_sha1")
        rows = [{key: row[key] for key in fields} for row in downloads]
        write_csv(folder / "downloads.csv", fields, rows, escape=True)
        reasons = [{"title": file.title, "reason": reason, "source_url": file.page_url} for file, reason in left_out]
        write_csv(folder / "left_out.csv", ("title", "reason", "source_url"), reasons, escape=True)
        write_collection(
            folder,
            name=self.name,
            photos=PHOTOS,
            records=[self._record(file) for file, _ in stored],
            concepts=self.concepts,
            building_type=self.building_type,
        )


def _attribution(file: CommonsFile, outcome: Outcome) -> Attribution:
    return Attribution(
        photo=file.name,
        title=file.title,
        author=file.author,
        credit=file.credit,
        licence=file.licence or file.licence_key,
        licence_url=file.licence_url,
        restrictions=file.restrictions,
        source_url=file.page_url,
        changes=outcome.changes,
    )
