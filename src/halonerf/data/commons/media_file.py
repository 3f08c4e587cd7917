"""Metadata of a file of Wikimedia Commons, in plain text, from the response of its API.

Source: https://www.mediawiki.org/wiki/API:Imageinfo, https://www.mediawiki.org/wiki/Extension:CommonsMetadata.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from halonerf.data.commons.text import in_languages, one_line, tidy_text

METADATA_FIELDS = (  # requested of `extmetadata`
    "ImageDescription|Artist|Credit|Attribution|LicenseShortName|License|LicenseUrl|UsageTerms|NonFree|Restrictions"
)


@dataclass(frozen=True)
class CommonsFile:
    """Metadata of a file. Texts are plain; sizes, px and bytes, are those of the original; 0 or "": not stated."""

    pageid: int
    title: str  # without the namespace
    path: tuple[str, ...]  # categories from the requested one down to the one that it was found in
    categories: tuple[str, ...] = ()  # its visible categories, sorted
    mime: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    sha1: str = ""  # hexadecimal
    url: str = ""
    page_url: str = ""  # its page on the wiki
    scaled_url: str = ""  # of a smaller copy, where one was requested and exists
    scaled_mime: str = ""
    descriptions: dict[str, str] = field(default_factory=dict)  # by language; "" where it is not stated
    captions: dict[str, str] = field(default_factory=dict)  # the short, structured ones, by language
    author: str = ""
    credit: str = ""  # attribution text that the author demands, or the source
    licence: str = ""  # short name, such as "CC BY-SA 4.0"
    licence_key: str = ""  # the wiki's key, such as "cc-by-sa-4.0"
    licence_url: str = ""
    restrictions: str = ""  # of another kind than copyright, such as "personality|trademarked"
    nonfree: bool = False
    missing: bool = False  # deleted, or hidden
    name: str = ""  # of the photo in the collection

    @classmethod
    def from_page(cls, page: Mapping[str, Any], path: tuple[str, ...]) -> CommonsFile:
        """Metadata from a page of `prop=imageinfo|categories`, found along the categories `path`."""
        info: Mapping[str, Any] = next(iter(_mappings(page.get("imageinfo"))), {})
        stated_extra = info.get("extmetadata")
        extra = {
            key: entry.get("value")
            for key, entry in (stated_extra if isinstance(stated_extra, Mapping) else {}).items()
            if isinstance(entry, Mapping) and entry.get("value") not in (None, "")
        }
        url, scaled = tidy_text(str(info.get("url", ""))), tidy_text(str(info.get("thumburl", "")))
        stated = {key: one_line(value) for key, value in extra.items() if key != "ImageDescription"}
        uploader = tidy_text(str(info.get("user", "")))
        return cls(
            pageid=_number(page.get("pageid")),
            title=without_namespace(str(page.get("title", ""))),
            path=path,
            categories=tuple(
                sorted(without_namespace(str(c["title"])) for c in _mappings(page.get("categories")) if "title" in c)
            ),
            mime=tidy_text(str(info.get("mime", ""))),
            size=_number(info.get("size")),
            width=_number(info.get("width")),
            height=_number(info.get("height")),
            sha1=tidy_text(str(info.get("sha1", ""))),
            url=url,
            page_url=tidy_text(str(info.get("descriptionurl", ""))),
            scaled_url="" if scaled == url else scaled,
            scaled_mime=tidy_text(str(info.get("thumbmime", ""))),
            descriptions=in_languages(extra.get("ImageDescription", "")),
            author=stated.get("Artist", "") or (f"{uploader} (uploader)" if uploader else ""),
            credit=stated.get("Attribution", "") or stated.get("Credit", ""),
            licence=stated.get("LicenseShortName", "") or stated.get("UsageTerms", ""),
            licence_key=stated.get("License", ""),
            licence_url=stated.get("LicenseUrl", ""),
            restrictions=stated.get("Restrictions", ""),
            nonfree=stated.get("NonFree", "").lower() in ("true", "1", "yes"),
            missing=bool(page.get("missing") or info.get("filehidden") or info.get("filemissing") or not url),
        )

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> CommonsFile:
        """Metadata from what `to_json` gave."""
        return cls(**{**entry, "path": tuple(entry["path"]), "categories": tuple(entry["categories"])})

    def to_json(self) -> dict[str, Any]:
        """All fields, JSON types."""
        return dataclasses.asdict(self)

    def texts(self) -> list[tuple[str, str, str]]:
        """Captions and descriptions as (kind, language, text), English first, without repetitions."""
        found: dict[str, tuple[str, str, str]] = {}
        for kind, texts in (("caption", self.captions), ("description", self.descriptions)):
            for language in sorted(texts, key=lambda code: (code != "en", code)):
                found.setdefault(texts[language], (kind, language, texts[language]))
        return list(found.values())

    def all_categories(self) -> tuple[str, ...]:
        """All categories, from the widest to the one that it was found in; further ones stand before the latter."""
        others = [category for category in self.categories if category not in self.path]
        return (*self.path[:-1], *others, *self.path[-1:])


def _number(value: Any) -> int:
    """A number of 0 or more as the wiki states it; 0 where it states none."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list; none of anything else."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def without_namespace(title: str) -> str:
    """A page's title without its namespace: "File:Portal.jpg" -> "Portal.jpg"."""
    return tidy_text(title.partition(":")[2] or title)
