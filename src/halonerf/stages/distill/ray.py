"""Distillation on a Ray cluster: Ray Data distributes the shards over workers, each with its own distiller.

A shard is one row of Ray's data set; its records and labels are Parquet files on a file system that all machines share
(`LabelShards`), and a worker skips a shard that is done. A shard whose worker dies is repeated by another, and its
labels are written once.
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
from halonerf.protocols import ClusterDistiller, ShardedDistiller
from halonerf.stages.distill.shards import LabelShards, distill_shard

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics are sent
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without a GPU share keeps the machine's visible devices
}
CONNECT_TIMEOUT_S = 10.0  # of a cluster's address


def distill_with_ray(
    config: Mapping[str, Any], folder: Path, shards: Sequence[int], workers: int, gpus: float, address: str | None
) -> Generator[int, None, None]:
    """Label the shards whose records are in `folder`; yields each shard's number when it is done, in any order.

    Args:
        config: of the distiller, built in every worker. A `ClusterDistiller` first computes the answers by itself, and
            the workers then build the distiller that reads them.
        workers: number of workers; 0: one per core of the cluster, or per `gpus` where that is above 0.
        gpus: share of a GPU per worker.
        address: of a running cluster; None: one on this machine that lives as long as the iterator.

    Raises: MissingExtra without Ray; BadInput where no cluster answers; a worker's UserError.
    """
    with cluster(address, workers) as ray:
        kind = locate(config["_target_"])
        if isinstance(kind, type) and issubclass(kind, ClusterDistiller):
            options = {key: value for key, value in config.items() if key != "_target_"}
            config = kind.answer_with_ray(options, shards, LabelShards(folder).read_records, folder, workers)
        resources = ray.cluster_resources()
        max_workers = workers or max(int(resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1)), 1)
        rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        done = rows.map_batches(
            Worker,
            fn_constructor_args=(dict(config), str(folder)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(max_workers, len(shards))),
            num_cpus=1,
            num_gpus=gpus or None,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise getattr(errors, row["error"], errors.UserError)(row["message"])
            yield int(row["shard"])


class Worker:
    """Labels one shard at a time in a separate process; user errors are returned in the row, not raised."""

    def __init__(self, config: Mapping[str, Any], folder: str) -> None:
        self.folder, self.shards = Path(folder), LabelShards(Path(folder))
        self.failed: errors.UserError | None = None
        try:
            self.distiller = build(config)
            if isinstance(self.distiller, ShardedDistiller):
                self.distiller.open(self.folder, worker=uuid.uuid4().hex[:12])
        except errors.UserError as error:
            self.failed = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        (shard,) = (int(shard) for shard in batch["shard"])
        try:
            if self.failed:
                raise self.failed
            if not self.shards.done(shard):
                with storage_errors(self.folder):
                    self.shards.write(shard, distill_shard(self.distiller, self.shards.read_records(shard)))
        except errors.UserError as error:
            kind = "" if isinstance(error, errors.MissingExtra) else type(error).__name__
            return {"shard": [shard], "error": [kind or "UserError"], "message": [str(error)]}
        return {"shard": [shard], "error": [""], "message": [""]}


@contextmanager
def cluster(address: str | None, workers: int) -> Iterator[Any]:
    """The module `ray`, connected for the context; a connection from before the context is used and kept.

    Raises: MissingExtra without Ray; BadInput where no cluster answers.
    """
    before = {name: os.environ.get(name) for name in RAY_ENVIRONMENT}
    os.environ.update(RAY_ENVIRONMENT)  # read when Ray is imported, and by the processes that it starts
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
            # one core more, so that the tasks that feed the workers never wait for them
            options |= {"include_dashboard": False, "num_cpus": max(workers, os.cpu_count() or 1) + 1}
        try:
            _check_address(address)
            ray.init(address=address or "local", **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise errors.BadInput(
                f"expected a Ray cluster at {address or 'this machine'}, but: {error}\n"
                "Start one with: ray start --head\nor use this machine only with: distill.address=null"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def _check_address(address: str | None) -> None:
    """Raises: OSError where a cluster's host and port do not accept connections; Ray would retry for minutes."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
