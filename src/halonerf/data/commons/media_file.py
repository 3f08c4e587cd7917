"""One file of Wikimedia Commons as its API describes it, in plain text.

Source: https://www.mediawiki.org/wiki/API:Imageinfo, https://www.mediawiki.org/wiki/Extension:CommonsMetadata.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from halonerf.data.commons.text import in_languages, one_line, tidy_text

EXTRA = (  # what is asked for of `extmetadata`
    "ImageDescription|Artist|Credit|Attribution|LicenseShortName|License|LicenseUrl|UsageTerms|NonFree|Restrictions"
)


@dataclass(frozen=True)
class CommonsFile:
    """All texts are plain; sizes in pixels and bytes are those of the original. Zero, or empty: not stated."""

    pageid: int
    title: str  # without the namespace
    path: tuple[str, ...]  # categories from the one asked for down to the one that it was found in
    categories: tuple[str, ...] = ()  # its visible categories, in the order of the alphabet
    mime: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    sha1: str = ""  # hexadecimal
    url: str = ""
    page_url: str = ""  # where people read about it
    scaled_url: str = ""  # of a smaller copy, where one was asked for and there is one
    scaled_mime: str = ""
    descriptions: dict[str, str] = field(default_factory=dict)  # by language; "" where it is not stated
    captions: dict[str, str] = field(default_factory=dict)  # the short, structured ones, by language
    author: str = ""
    credit: str = ""  # the words that the author asks for, or the source
    licence: str = ""  # short name, such as "CC BY-SA 4.0"
    licence_key: str = ""  # the wiki's own, such as "cc-by-sa-4.0"
    licence_url: str = ""
    restrictions: str = ""  # of another kind than copyright, such as "personality|trademarked"
    nonfree: bool = False
    missing: bool = False  # deleted, or hidden
    name: str = ""  # of the photo in the collection

    @classmethod
    def from_page(cls, page: Mapping[str, Any], path: tuple[str, ...]) -> CommonsFile:
        """From a page of `prop=imageinfo|categories`."""
        versions = page.get("imageinfo") or [{}]
        info: Mapping[str, Any] = versions[0]
        extra = {
            key: entry.get("value")
            for key, entry in (info.get("extmetadata") or {}).items()
            if isinstance(entry, Mapping) and entry.get("value") not in (None, "")
        }
        url, scaled = tidy_text(str(info.get("url", ""))), tidy_text(str(info.get("thumburl", "")))
        said = {key: one_line(value) for key, value in extra.items() if key != "ImageDescription"}
        uploader = tidy_text(str(info.get("user", "")))
        return cls(
            pageid=int(page.get("pageid", 0)),
            title=without_namespace(str(page.get("title", ""))),
            path=path,
            categories=tuple(sorted(without_namespace(str(c["title"])) for c in page.get("categories", ()))),
            mime=tidy_text(str(info.get("mime", ""))),
            size=int(info.get("size") or 0),
            width=int(info.get("width") or 0),
            height=int(info.get("height") or 0),
            sha1=tidy_text(str(info.get("sha1", ""))),
            url=url,
            page_url=tidy_text(str(info.get("descriptionurl", ""))),
            scaled_url="" if scaled == url else scaled,
            scaled_mime=tidy_text(str(info.get("thumbmime", ""))),
            descriptions=in_languages(extra.get("ImageDescription", "")),
            author=said.get("Artist", "") or (f"{uploader} (who uploaded it)" if uploader else ""),
            credit=said.get("Attribution", "") or said.get("Credit", ""),
            licence=said.get("LicenseShortName", "") or said.get("UsageTerms", ""),
            licence_key=said.get("License", ""),
            licence_url=said.get("LicenseUrl", ""),
            restrictions=said.get("Restrictions", ""),
            nonfree=said.get("NonFree", "").lower() in ("true", "1", "yes"),
            missing=bool(page.get("missing") or info.get("filehidden") or info.get("filemissing") or not url),
        )

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> CommonsFile:
        """What `to_json` gave."""
        return cls(**{**entry, "path": tuple(entry["path"]), "categories": tuple(entry["categories"])})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def texts(self) -> list[tuple[str, str, str]]:
        """Every caption and description with its kind and language, English first; none that repeats another."""
        found: dict[str, tuple[str, str, str]] = {}
        for kind, texts in (("caption", self.captions), ("description", self.descriptions)):
            for language in sorted(texts, key=lambda code: (code != "en", code)):
                found.setdefault(texts[language], (kind, language, texts[language]))
        return list(found.values())

    def all_categories(self) -> tuple[str, ...]:
        """From the widest to the one that it was found in; its other ones stand before that."""
        others = [category for category in self.categories if category not in self.path]
        return (*self.path[:-1], *others, *self.path[-1:])


def without_namespace(title: str) -> str:
    """The title of a page of a namespace: "File:Portal.jpg" -> "Portal.jpg"."""
    return tidy_text(title.partition(":")[2] or title)
