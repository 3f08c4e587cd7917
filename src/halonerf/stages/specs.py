"""The pipeline's graph: for each stage, in order, what it reads and how its options enter its fingerprint.

Kept apart from what the stages compute, so that a plan and `--help` import none of it. The first line of a docstring is
the stage's line in `--help`; each class in `stages/` inherits its spec from here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from halonerf.data.formats.names import CONCEPTS
from halonerf.errors import BadInput
from halonerf.expressions import given_texts, read_texts, required_texts
from halonerf.factory import build
from halonerf.pipeline.declarations import declaration
from halonerf.pipeline.spec import StageSource, StageSpec


class CollectSpec(StageSpec):
    """list a scene's photos and metadata, or make a procedural landmark's"""

    name = "collect"


class IngestSpec(StageSpec):
    """photos -> cameras, points, undistorted images (structure from motion)"""

    name = "ingest"
    version = 2
    needs = ("collect",)


class _CorpusSpec(StageSpec):
    """Stages whose records may come from a corpus that belongs to no scene."""

    needs = ("collect",)

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return () if config.get("corpus") else cls.needs

    @classmethod
    def owner(cls, config: Mapping[str, Any]) -> str | None:
        return str(build(config["corpus"]).name) if config.get("corpus") else None


class DistillSpec(_CorpusSpec):
    """metadata -> labels"""

    name = "distill"
    version = 2
    runtime_options = ("engine", "workers", "worker_gpus", "address")
    compatible_defaults: ClassVar[Mapping[str, Any]] = {"min_count": 1}


class CompareLabelsSpec(_CorpusSpec):
    """labels of several distillers on the same records, compared"""

    name = "compare_labels"

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        return {
            name: StageSource(None, ("distill",), {"distill": {"distiller": distiller}})
            for name, distiller in config["distillers"].items()
        }


class MineSpec(StageSpec):
    """pairs of a zoomed-in and a zoomed-out photo"""

    name = "mine"
    version = 3
    needs = ("ingest",)
    runtime_options = ("memory_mb", "workers")


class TargetsSpec(StageSpec):
    """predictions on zoomed-in photos, warped into zoomed-out ones"""

    name = "targets"
    version = 2
    needs = ("ingest", "distill", "mine")
    mixed_precision = True


class AdaptClipSpec(StageSpec):
    """contrastive fine-tuning of CLIP on photos and their labels"""

    name = "adapt_clip"
    version = 2
    needs = ("collect", "distill")
    trainable = True
    mixed_precision = True
    runtime_options = ("workers",)

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return () if config["landmarks"] else (*cls.needs, "ingest")  # which says what is held out

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        read = {**config["landmarks"], **config["validation"]}
        return {name: StageSource(scene, cls.needs) for name, scene in read.items()}


class AdaptSegmenterSpec(StageSpec):
    """fine-tuning of the segmenter on zoomed-out photos, supervised by zoomed-in ones"""

    name = "adapt_segmenter"
    version = 2
    needs = ("collect", "distill")
    trainable = True
    mixed_precision = True
    runtime_options = ("workers", "threads")
    data_options = ("original", "original_table", "weights")  # weights: of `teacher`

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        if config.get("landmarks"):
            return ()
        return tuple(
            dict.fromkeys((*cls.needs, "ingest", *cls._read_of_pairs(config)))
        )  # ingest says which photos are held out

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        trained = {
            name: StageSource(scene, (*cls.needs, *cls._read_of_pairs(config)))
            for name, scene in (config.get("landmarks") or {}).items()
        }
        scored = {
            f"{part}:{name}": StageSource(scene, ("collect",))
            for part in ("validation", "test")
            for name, scene in (config.get(part) or {}).items()
        }
        return trained | scored

    @classmethod
    def _read_of_pairs(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Stages that pairs of photos need, a reconstruction among them: read only where their loss has a weight."""
        return ("ingest", "targets") if (config.get("losses") or {}).get("warped", 1.0) else ()


class ReconstructSpec(StageSpec):
    """photos -> radiance field"""

    name = "reconstruct"
    version = 2
    needs = ("ingest",)
    trainable = True


class SegmentSpec(StageSpec):
    """photos + concepts -> 2D probability maps, and which photos to trust"""

    name = "segment"
    version = 4
    needs = ("collect", "ingest", "distill")

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        rendered = {"occlusion", "agreement"} & set(config.get("score_terms", ()))
        return (*cls.needs, *["reconstruct"] * bool(rendered), *_adapted(config))


class _ConceptsSpec(StageSpec):
    """Stages that have nothing to do without concepts."""

    @classmethod
    def check_inputs(cls, inputs: Mapping[str, Path]) -> None:
        if "segment" in inputs and not json.loads((inputs["segment"] / CONCEPTS).read_text(encoding="utf-8")):
            raise BadInput(
                f"expected concepts for stage '{cls.name}', but the scene has none: no label occurs in "
                "segment.min_photos photos.\nSet them with: segment.concepts=[portal,window]"
            )


class FeaturesSpec(_ConceptsSpec):
    """dense image embeddings of photos, for head=dff, head=lerf and head=fewshot"""

    name = "features"
    needs = ("ingest", "segment")


class LocalizeSpec(StageSpec):
    """2D maps -> a probability per concept and element of the field"""

    name = "localize"
    version = 2
    needs = ("ingest", "segment", "reconstruct")  # segment first: it is the sooner to fail
    seeded = True

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        lifts_features = declaration(config["head"]["_target_"]).literals.get("takes_features", False)
        return (*cls.needs, "features") if lifts_features else cls.needs


class IndexSpec(StageSpec):
    """per-photo encodings and lifting tables, so that text queries take under a second"""

    name = "index"
    needs = ("ingest", "reconstruct", "segment")

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return (*cls.needs, *_adapted(config))


class QuerySpec(StageSpec):
    """where a text prompt is in 3D: text="rose window\""""

    name = "query"
    version = 3
    needs = ("ingest", "reconstruct", "index")
    seeded = True

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        read_texts(required_texts(config.get("words")))  # a malformed query is reported before any stage runs
        return (*cls.needs, "localize", *_adapted(config))  # which has lifted the concepts from all photos


class ExploreSpec(StageSpec):
    """a browser window: fly around, type text prompts, change the appearance, save films"""

    name = "explore"
    needs = ("collect", "ingest", "reconstruct", "segment", "index")
    interactive = True

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        if texts := given_texts(config.get("words")):
            read_texts(texts)
        return (*cls.needs, "localize", *_adapted(config))

    @classmethod
    def extra_packages(cls, config: Mapping[str, Any]) -> dict[str, str]:
        return declaration(config["viewer"]["_target_"]).literals.get("extra_packages", {})


class RenderSpec(StageSpec):
    """pictures of every view, or a film: path=orbit"""

    name = "render"
    needs = ("ingest", "reconstruct", "localize")
    seeded = True
    runtime_options = ("memory_mb",)
    file_options = ("light", "against", "video", "path")

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        if config.get("path") is None:
            return cls.needs
        from halonerf.stages.render.film_path import path_texts  # reads the path's file, with PyTorch

        texts = path_texts(config["path"], config.get("concepts"))
        if config.get("compare") and config.get("against") is None and not texts:
            raise BadInput(
                "expected concepts to compare with and without, as render.concepts=[portal], or another appearance, as "
                "render.against=night; got neither"
            )
        if not texts:
            return ("ingest", "reconstruct")
        return (*cls.needs, "index", *_adapted(config))

    @classmethod
    def extra_packages(cls, config: Mapping[str, Any]) -> dict[str, str]:
        films = config.get("path") is not None or config.get("video")
        return {"av": "video"} if films and config.get("film") != "frames" else {}


class _TextsSpec(StageSpec):
    """Stages that take further text prompts as `words` beside the concepts that `localize` found."""

    needs = ("collect", "ingest", "reconstruct", "localize")
    seeded = True

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        if not (texts := given_texts(config.get("words"))):
            return cls.needs
        read_texts(texts)
        return (*cls.needs, "index", *_adapted(config))


class ExportSpec(_TextsSpec):
    """files for other programs: splats, points, mesh, COLMAP, nerfstudio, masks, depth"""

    name = "export"
    version = 2
    runtime_options = ("memory_mb",)
    file_options = ("light",)

    @classmethod
    def extra_packages(cls, config: Mapping[str, Any]) -> dict[str, str]:
        return {"skimage": "export", "trimesh": "export"} if "mesh" in (config.get("formats") or ()) else {}


class ShareSpec(_TextsSpec):
    """one HTML file to explore the landmark, which opens with a double click"""

    name = "share"
    version = 2


class EvaluateSpec(_ConceptsSpec):
    """scores against ground-truth masks"""

    name = "evaluate"
    version = 3
    needs = ("collect", "ingest", "segment", "reconstruct", "localize")
    data_options = ("masks",)


class CompareSpec(StageSpec):
    """scenes, methods and protocols in one table"""

    name = "compare"

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        from halonerf.stages.compare.runs import RunGrid

        return RunGrid.from_options(config.get("scenes"), config.get("methods"), config.get("protocols")).sources()


class ReportSpec(_ConceptsSpec):
    """everything on one HTML page"""

    name = "report"
    needs = ("collect", "distill", "ingest", "segment", "mine", "reconstruct", "localize", "evaluate")
    runtime_options = ("command",)

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return (*cls.needs, "share") if config.get("explore") else cls.needs


class TrainSegmenterSpec(StageSpec):
    """training of the offline segmenter from scratch"""

    name = "train_segmenter"
    version = 2
    trainable = True
    mixed_precision = True
    runtime_options = ("workers", "threads")
    data_options = ("weights",)  # of `close_up`


def _adapted(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The stage whose weights the segmenter takes, where `adapted` is set."""
    return ("adapt_segmenter",) if config.get("adapted") else ()


SPECS: dict[str, type[StageSpec]] = {
    "Collect": CollectSpec,
    "Ingest": IngestSpec,
    "Distill": DistillSpec,
    "CompareLabels": CompareLabelsSpec,
    "Mine": MineSpec,
    "Targets": TargetsSpec,
    "AdaptClip": AdaptClipSpec,
    "AdaptSegmenter": AdaptSegmenterSpec,
    "Reconstruct": ReconstructSpec,
    "Segment": SegmentSpec,
    "Features": FeaturesSpec,
    "Localize": LocalizeSpec,
    "Index": IndexSpec,
    "Query": QuerySpec,
    "Explore": ExploreSpec,
    "Render": RenderSpec,
    "Export": ExportSpec,
    "Share": ShareSpec,
    "Evaluate": EvaluateSpec,
    "Compare": CompareSpec,
    "Report": ReportSpec,
    "TrainSegmenter": TrainSegmenterSpec,
}
