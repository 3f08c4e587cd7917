"""Distilling over a cluster: Ray Data gives the shards to workers, each with a distiller of its own.

A shard is one row of Ray's data set: what it reads and writes are Parquet files that all machines see (`LabelShards`), and a
worker that finds it done passes on. So a shard whose worker dies is done again by another, and has its labels once.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from halonerf import errors
from halonerf.factory import build, locate
from halonerf.files import storage_errors
from halonerf.stages.distill.shards import LabelShards, distill_shard

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's makers
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU of its own keeps what the machine shows it
}
REACH_S = 10.0  # for a cluster's machine to answer at all


def distill_with_ray(
    config: Mapping[str, Any], folder: Path, shards: Sequence[int], workers: int, gpus: float, address: str | None
) -> Generator[int, None, None]:
    """Label the shards whose records are in `folder`, and give each as it is done, in any order.

    Args:
        config: of the distiller, built in every worker. Where its class has `ask_with_ray(options, shards, read,
            folder, workers)`, that first gets the answers in a way of its own and gives another config to read them by.
        workers: 0: one a core of the cluster; one a share of GPUs where `gpus` is above 0.
        address: of a running cluster; None: one on this machine that lives as long as the iterator.

    Raises: MissingExtra without Ray; BadInput where no cluster answers; a worker's UserError.
    """
    with cluster(address, workers) as ray:
        kind = locate(config["_target_"])
        if hasattr(kind, "ask_with_ray"):
            options = {key: value for key, value in config.items() if key != "_target_"}
            config = kind.ask_with_ray(options, shards, LabelShards(folder).read_records, folder, workers)
        found = ray.cluster_resources()
        most = workers or max(int(found.get("GPU", 0) / gpus if gpus else found.get("CPU", 1)), 1)
        rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        done = rows.map_batches(
            Worker,
            fn_constructor_args=(dict(config), str(folder)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(most, len(shards))),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise getattr(errors, row["error"], errors.UserError)(row["message"])
            yield int(row["shard"])


class Worker:
    """Labels shards in a process of its own, one at a time. What a user can mend is told, not raised."""

    def __init__(self, config: Mapping[str, Any], folder: str) -> None:
        self.folder, self.parts = Path(folder), LabelShards(Path(folder))
        self.failed: errors.UserError | None = None
        try:
            self.distiller = build(config)
            if hasattr(self.distiller, "gather"):
                self.distiller.open(self.folder, worker=uuid.uuid4().hex[:12])
            elif hasattr(self.distiller, "open"):  # knows nothing of others: gets a folder for itself
                own = self.folder / "workers" / uuid.uuid4().hex[:12]
                own.mkdir(parents=True)
                self.distiller.open(own)
        except errors.UserError as error:
            self.failed = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        (shard,) = (int(shard) for shard in batch["shard"])
        try:
            if self.failed:
                raise self.failed
            if not self.parts.done(shard):
                with storage_errors(self.folder):
                    self.parts.write(shard, distill_shard(self.distiller, self.parts.read_records(shard)))
        except errors.UserError as error:
            kind = "" if isinstance(error, errors.MissingExtra) else type(error).__name__
            return {"shard": [shard], "error": [kind or "UserError"], "message": [str(error)]}
        return {"shard": [shard], "error": [""], "message": [""]}


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[Any]:
    """Ray, connected; one that was connected before stays so, else it is left again at the end.

    Raises: MissingExtra without Ray; BadInput where no cluster answers.
    """
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)  # read as Ray is imported, and by the processes that it starts
    try:
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise errors.MissingExtra("ray", "ray") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {"logging_level": logging.ERROR, "ignore_reinit_error": True}
        if address is None:
            # one core more, so that what feeds the workers is never kept waiting by them
            options |= {"include_dashboard": False, "num_cpus": max(workers, os.cpu_count() or 1) + 1}
        try:
            _reach(address)
            ray.init(address=address or "local", **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise errors.BadInput(
                f"expected a Ray cluster at {address or 'this machine'}, but: {error}\n"
                "Start one with: ray start --head\nor use this machine alone with: distill.address=null"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def _reach(address: str | None) -> None:
    """Raises: OSError where nobody listens at a cluster's host and port; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
