"""The store of artifacts: fingerprints, locks, and folders that appear complete.

A stage writes into `<root>/<scene>/<stage>/<fingerprint>.partial/` while it holds `<fingerprint>.lock`; the folder
is renamed to `<fingerprint>/` once its `manifest.json` is on disk. A killed run leaves the partial folder, in which
the next run resumes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from halonerf.errors import MissingArtifact, StorageError
from halonerf.files import remove_temporaries, safe_name, storage_errors

MANIFEST = "manifest.json"


def fingerprint(identity: Mapping[str, Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of `identity` as canonical JSON."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ArtifactStore:
    """The artifacts under `root`."""

    root: Path

    def folder(self, scene: str, stage: str, key: str) -> Path:
        """Where the finished output of `stage` with fingerprint `key` is, or will be."""
        return self.root / safe_name(scene) / stage / key

    def has(self, scene: str, stage: str, key: str) -> bool:
        """Whether that output is finished."""
        return (self.folder(scene, stage, key) / MANIFEST).is_file()

    def manifest(self, scene: str, stage: str, key: str) -> dict[str, Any]:
        """The manifest of that output.

        Raises: MissingArtifact where it is not there.
        """
        folder = self.folder(scene, stage, key)
        if not self.has(scene, stage, key):
            raise MissingArtifact(
                f"stage '{stage}' {key} of scene '{scene}' is not in {self.root}.\n"
                f"Make it with: halonerf stage={stage} scene={scene}"
            )
        return json.loads((folder / MANIFEST).read_text())

    @contextmanager
    def create(self, scene: str, stage: str, key: str, wait_s: float = -1) -> Iterator[Path | None]:
        """Hold the lock and give the partial folder to write into; on a clean exit it takes its final name.

        Gives None when another run finished the same output while this one waited for the lock. On an exception
        the partial folder stays, so that the next run can go on.

        Args:
            wait_s: seconds to wait for another run's lock; negative waits for ever.

        Raises: StorageError where the folder cannot be written or the lock is not had in time.
        """
        final = self.folder(scene, stage, key)
        partial = final.with_name(f"{key}.partial")
        with storage_errors(self.root):
            final.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(final.with_name(f"{key}.lock"), timeout=wait_s)
            try:
                lock.acquire()
            except Timeout as error:
                raise StorageError(
                    f"expected to start stage '{stage}', but another run has held {lock.lock_file} for {wait_s} s.\n"
                    "Wait for it to end, or stop it."
                ) from error
            try:
                if self.has(scene, stage, key):
                    yield None
                    return
                partial.mkdir(exist_ok=True)
                remove_temporaries(partial)
                yield partial
                if not (partial / MANIFEST).is_file():
                    raise AssertionError(f"stage '{stage}' ended without writing {MANIFEST}")
                partial.replace(final)
            finally:
                lock.release()
