"""Command lines that cannot be run, each with words that its message must have.

`python tests/helpers/bad_command_lines.py` prints them as a table with their messages.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

PHOTOS = "stage=ingest scene=photos scene.path=photos"
COMMONS = "stage=collect corpus=commons corpus.category=Milan"
SERVER = "stage=distill distiller=openai_server distiller.model=m"
OPTIONS: list[tuple[str, str]] = [
    # the run
    ("stage=report seed=abc", "seed to be an integer"),
    ("stage=report seed=-1", "got -1"),
    ("stage=report seed=1.5", "got 1.5"),
    ("stage=report seed=4294967296", "4294967295"),
    ("stage=report seed=null", "got null"),
    ("stage=report plan=no", "plan to be true or false, got 'no'"),
    ("stage=report plan=2", "true or false"),
    ("stage=reprot", "got 'reprot'"),
    ("stage=", "expected stage"),
    ("stage=3", "got '3'"),
    ("stage=[report]", "stage to be non-empty text or null"),
    ("", "expected stage=NAME, got none"),
    ("stage=report artifacts=", "artifacts to be non-empty text"),
    ("stage=report artifacts=null", "artifacts"),
    ("stage=collect artifacts=/dev/null/x", "artifacts to be a folder that can be made"),
    ("stage=collect publish=/dev/null/x", "publish to be a folder that can be made"),
    ("stage=report publish=", "publish"),
    ("stage=query text=true", "text"),
    ("stage=query text={a:1}", "text"),
    ("stage=query", "expected a text to look for"),
    ("stage=query text=[]", "empty list"),
    ("'stage=query' 'text=window AND'", "AND"),
    ("stage=render path=[orbit]", "path to be"),
    # the trainer
    ("stage=report trainer.accelerator=cuda9", "one of cpu, gpu"),
    ("stage=reconstruct trainer.devices=0", "trainer.devices"),
    ("stage=reconstruct trainer.devices=-2", "trainer.devices"),
    ("stage=reconstruct trainer.devices=[]", "trainer.devices"),
    ("stage=reconstruct trainer.devices=half", "trainer.devices"),
    ("stage=reconstruct trainer.num_nodes=0", "at least 1"),
    ("stage=reconstruct trainer.precision=banana", "one of 32-true"),
    ("stage=reconstruct trainer.precision=8", "one of 32-true"),
    ("stage=reconstruct trainer.log_every_n_steps=-1", "at least 0"),
    ("stage=reconstruct trainer.strategy=", "non-empty text"),
    ("stage=reconstruct +trainer.foo=1", "there is no option trainer.foo"),
    ("stage=reconstruct trainer.foo=1", "there is no option trainer.foo"),
    ("stage=reconstruct +trainer.max_epochs=3", "which stages set"),
    ("stage=reconstruct +trainer.gradient_clip_val=abc", "trainer.gradient_clip_val"),
    ("stage=reconstruct +trainer.accumulate_grad_batches=nan", "trainer.accumulate_grad_batches"),
    ("stage=reconstruct logger=foo", "Options of logger: csv"),
    # the scene
    ("stage=collect scene.photos=0", "scene.photos"),
    ("stage=collect scene.photos=-3", "got -3"),
    ("stage=collect scene.photos=abc", "got 'abc'"),
    ("stage=collect scene.width=nan", "got NaN"),
    ("stage=collect scene.width=abc", "scene.width"),
    ("stage=collect scene.width=8", "from 16"),
    ("stage=collect scene.samples=0", "scene.samples"),
    ("stage=collect scene.close_ups=1.5", "from 0 to 1"),
    ("stage=collect scene.passers_by=-1", "at least 0"),
    ("stage=collect scene.kind=temple", "cathedral, mosque, synagogue"),
    ("stage=collect scene.workers=-1", "scene.workers"),
    ("stage=collect scene=photos", "scene.path"),
    ("stage=collect scene=photos scene.path=", "scene.path to be non-empty text"),
    ("stage=collect scene=photos scene.path=nowhere", "nowhere"),
    ("stage=collect scene=photos scene.path=[a]", "scene.path"),
    ("stage=collect scene=photos scene.path=1.5", "Quote text"),
    ("stage=collect scene=photos scene.path=null", "scene.path"),
    ("stage=collect scene=photos scene.path=photos scene.concepts=portal", "scene.concepts"),
    ("stage=collect scene=photos scene.path=photos scene.metadata=nowhere.csv", "nowhere.csv"),
    ("stage=collect scene=colmap scene.path=photos", "photos"),
    ("stage=collect scene=catedral", "Did you mean scene=cathedral"),
    ("stage=collect scene=facades scene.path=photos scene.first=0", "scene.first"),
    ("stage=collect scene=facades scene.path=photos scene.classes.window=-1", "scene.classes.window"),
    ("stage=collect scene=facades scene.path=photos ~scene.classes +scene.classes={}", "to be a non-empty mapping"),
    (f"{COMMONS} corpus.kinds=[]", "corpus.kinds to be a non-empty list"),
    (f"{COMMONS} corpus.kinds=[image/tiff]", "corpus.kinds.0 to be one of image/jpeg"),
    (f"{COMMONS} corpus.depth=-1", "corpus.depth"),
    (f"{COMMONS} corpus.min_pixels=-1", "corpus.min_pixels"),
    (f"{COMMONS} corpus.max_bytes=-1", "corpus.max_bytes"),
    (f"{COMMONS} corpus.rate=0", "corpus.rate"),
    (f"{COMMONS} corpus.timeout=0", "corpus.timeout"),
    (f"{COMMONS} corpus.retries=-1", "corpus.retries"),
    (f"{COMMONS} corpus.patience=-1", "corpus.patience"),
    (
        "stage=distill corpus=table corpus.path=photos 'corpus.columns={image_id:a,foto:b}'",
        "no option corpus.columns.foto.",
    ),
    # stages
    (f"{PHOTOS} ingest.size=abc", "ingest.size"),
    (f"{PHOTOS} ingest.size=0", "ingest.size"),
    (f"{PHOTOS} ingest.feature_size=32", "ingest.feature_size"),
    (f"{PHOTOS} ingest.features=0", "ingest.features"),
    (f"{PHOTOS} ingest.mapper=hierarchical", "incremental, global"),
    (f"{PHOTOS} ingest.max_ratio=2", "ingest.max_ratio"),
    (f"{PHOTOS} ingest.max_error=0", "ingest.max_error"),
    (f"{PHOTOS} ingest.maper=global", "Did you mean ingest.mapper"),
    ("stage=reconstruct reconstruct.steps=abc", "reconstruct.steps"),
    ("stage=reconstruct reconstruct.steps=1.5", "reconstruct.steps"),
    ("stage=reconstruct reconstruct.steps=1e3", "got 1000.0"),
    ("stage=reconstruct reconstruct.steps=0", "at least 1"),
    ("stage=reconstruct reconstruct.epoch_steps=true", "reconstruct.epoch_steps"),
    ("stage=reconstruct reconstruct.epoch_steps=0", "reconstruct.epoch_steps"),
    ("stage=reconstruct reconstruct.refine_rate=nan", "got NaN"),
    ("stage=reconstruct reconstruct.refine_rate=inf", "reconstruct.refine_rate"),
    ("stage=reconstruct reconstruct.refine_cameras=1", "true or false"),
    ("stage=segment segment.concepts=[]", "segment.concepts"),
    ("stage=segment segment.concepts=portal", "segment.concepts to be a non-empty list"),
    ("stage=segment 'segment.concepts=[\"\"]'", "segment.concepts.0"),
    ("stage=segment segment.batch=0", "segment.batch"),
    ("stage=segment segment.max_photos=0", "segment.max_photos"),
    ("stage=segment segment.max_photos=abc", "segment.max_photos"),
    ("stage=segment segment.adapted=no", "true or false, got 'no'"),
    ("stage=segment segment.selection=foo", "best, coverage"),
    ("stage=segment segment.combine=mean", "product, sum"),
    ("stage=segment segment.score_terms=[]", "segment.score_terms"),
    ("stage=segment segment.score_terms=[quality,beauty]", "segment.score_terms.1"),
    ("stage=localize localize.views=some", "all, train"),
    ("stage=localize localize.weights=foo", "concepts, score or null"),
    ("stage=evaluate evaluate.protocol=foo", "strict, heldout, paper"),
    ("stage=evaluate evaluate.views=none", "all, train, test"),
    ("stage=mine mine.min_ratio=0.5", "mine.min_ratio"),
    ("stage=mine mine.proposals=random", "auto, tracks"),
    ("stage=mine mine.workers=-1", "mine.workers"),
    ("stage=distill distill.batch=0", "distill.batch"),
    ("stage=distill distill.table=xlsx", "csv, parquet"),
    ("stage=distill distill.samples=-1", "distill.samples"),
    ("stage=distill distill.min_count=0", "distill.min_count"),
    ("stage=distill distill.workers=-1", "distill.workers"),
    ("stage=distill distill.worker_gpus=-0.5", "distill.worker_gpus"),
    ("stage=distill distill.engine=spark", "local, ray"),
    ("stage=export export.formats=[splat]", "splats"),
    ("stage=export export.formats=[]", "export.formats"),
    ("stage=export export.formats=obj", "splats, points"),
    ("stage=export export.threshold=0", "above 0"),
    ("stage=export export.opacity=2", "export.opacity"),
    ("stage=export export.threshold=2", "export.threshold"),
    ("stage=export export.voxels=1", "export.voxels"),
    ("stage=render path=orbit render.film=avi", "mp4, webm"),
    ("stage=render render.fps=0", "render.fps"),
    ("stage=render render.size=3", "render.size"),
    ("stage=render render.views=some", "all, train, test"),
    ("stage=render path=orbit render.compare=flip", "side, wipe"),
    ("stage=render render.video=[mean]", "a list of at least 2"),
    ("stage=render render.video=mean", "render.video"),
    ("stage=render render.compare=side", "render.compare only with path"),
    ("stage=query text=portal query.threshold=1.5", "query.threshold"),
    ("stage=query text=portal query.views=0", "query.views"),
    ("stage=share share.splats=0", "share.splats"),
    ("stage=share share.max_photos=0", "share.max_photos"),
    ("stage=share share.lights=-1", "share.lights"),
    ("stage=share share.photo_size=3", "share.photo_size"),
    ("stage=share share.preview=3", "share.preview"),
    ("stage=share share.threshold=1.0", "share.threshold"),
    ("stage=report report.width=many", "report.width"),
    ("stage=index index.max_photos=0", "index.max_photos"),
    ("stage=index index.map_size=0", "index.map_size"),
    ("stage=index index.size=0", "index.size"),
    ("stage=adapt_segmenter adapt_segmenter.losses.warped=-1", "adapt_segmenter.losses.warped"),
    ("stage=adapt_segmenter adapt_segmenter.rate=nan", "adapt_segmenter.rate"),
    ("stage=adapt_segmenter adapt_segmenter.teacher={image_size:8}", "adapt_segmenter.teacher.image_size"),
    ("stage=adapt_segmenter adapt_segmenter.schedule=linear", "cosine, constant"),
    ("stage=adapt_clip adapt_clip.batch=0", "adapt_clip.batch"),
    ("stage=adapt_clip adapt_clip.repeated_labels=maybe", "positive, ignore, negative"),
    ("stage=adapt_clip adapt_clip.schedule=linear", "cosine, constant"),
    ("stage=adapt_clip adapt_clip.epochs=0", "adapt_clip.epochs"),
    ("stage=adapt_clip adapt_clip.chunk=0", "adapt_clip.chunk"),
    ("stage=adapt_clip adapt_clip.templates=[]", "adapt_clip.templates to be a non-empty list"),
    ("stage=targets targets.warp=affine", "local, homography"),
    ("stage=features head=dff features.overlap=1.0", "features.overlap"),
    ("stage=features head=dff features.phrases=[]", "features.phrases"),
    ("stage=features head=dff features.size=3", "features.size"),
    ("stage=features head=dff features.batch=0", "features.batch"),
    ("stage=adapt_clip adapt_clip.landmarks.milan=3", "adapt_clip.landmarks"),
    ("stage=train_segmenter train_segmenter.steps=-5", "train_segmenter.steps"),
    ("stage=train_segmenter train_segmenter.crop=16", "train_segmenter.crop to be an integer from 32"),
    ("stage=train_segmenter train_segmenter.close_up={image_size:8}", "train_segmenter.close_up.image_size"),
    ("stage=train_segmenter train_segmenter.min_crop=0.0", "train_segmenter.min_crop"),
    ("stage=train_segmenter train_segmenter.max_crop=1.2", "train_segmenter.max_crop"),
    ("stage=train_segmenter training_data=masked_photos training_data.test_photos=0", "training_data.test_photos"),
    ("stage=train_segmenter training_data=masked_photos training_data.close=[0.0,0.5]", "training_data.close.0"),
    ("stage=train_segmenter training_data=masked_photos training_data.close=[0.5]", "a list of 2"),
    ("stage=compare_labels compare_labels.samples=-1", "compare_labels.samples"),
    ("stage=explore viewer.port=99999", "viewer.port"),
    ("stage=explore viewer.sockets=0", "viewer.sockets"),
    ("stage=explore viewer.splats=0", "viewer.splats"),
    ("stage=explore viewer.picture_size=1", "viewer.picture_size"),
    ("stage=explore viewer.thumbnail=2", "viewer.thumbnail"),
    ("stage=explore viewer.still_size=-1", "viewer.still_size"),
    # components
    ("stage=reconstruct field.budget=0", "field.budget"),
    ("stage=reconstruct field.budget=-5", "got -5"),
    ("stage=reconstruct field.budget=abc", "got 'abc'"),
    ("stage=reconstruct field.budget=1000000000000000000000", "field.budget"),
    ("stage=reconstruct field.sh_degree=4", "one of 0, 1, 2, 3"),
    ("stage=reconstruct field.densification=fast", "budget, threshold, mcmc"),
    ("stage=reconstruct field.tint=sepia", "network, affine, none"),
    ("stage=reconstruct field.codes=guess", "embedding, encoder"),
    ("stage=reconstruct +field.learning_rates.mean=1", "Did you mean field.learning_rates.means"),
    ("stage=reconstruct field.learning_rates.means=nan", "field.learning_rates.means"),
    ("stage=reconstruct field.learning_rates.means=-1", "field.learning_rates.means"),
    ("stage=reconstruct field=gausians", "Did you mean field=gaussians"),
    ("stage=reconstruct field.stpes=3", "Did you mean reconstruct.steps"),
    ("stage=reconstruct +field.bugdet=3", "Did you mean field.budget"),
    ("stage=reconstruct field.bugdet=3", "Did you mean field.budget"),
    ("stage=reconstruct field=ha_nerf field.rays=0", "field.rays"),
    ("stage=reconstruct field=ha_nerf field.photo_size=8", "field.photo_size"),
    ("stage=reconstruct field=ha_nerf field.epochs=0", "field.epochs"),
    ("stage=reconstruct field=ha_nerf field.density_noise=-1", "field.density_noise"),
    ("stage=reconstruct loss=null", "GROUP=NAME"),
    ("stage=reconstruct loss.terms.photometric.weight=nan", "loss.terms.photometric.weight"),
    ("stage=reconstruct '+loss.terms.mine={_target_:halonerf.loss_terms.SquaredError,wieght:1}'", "Did you mean"),
    ("stage=reconstruct '+loss.terms.mine={weight:1}'", "mapping with _target_"),
    ("stage=reconstruct '+loss.terms.mine={_target_:halonerf.loss_terms.Nothing}'", "halonerf.loss_terms.Nothing"),
    ("stage=localize head.min_confidence=-1", "head.min_confidence"),
    ("stage=localize head.robust=mode", "none, trimmed, median, consensus"),
    ("stage=localize head.trim=0.5", "head.trim"),
    ("stage=localize head.tolerance=0", "head.tolerance"),
    ("stage=localize head.smoothing=-1", "head.smoothing"),
    ("stage=localize head.neighbours=0", "head.neighbours"),
    ("stage=localize head.refinements=-1", "head.refinements"),
    ("stage=localize head=mlp head.widths=[]", "head.widths"),
    ("stage=localize head=mlp head.widths=[a]", "head.widths.0"),
    ("stage=localize head=mlp head.widths=[0]", "head.widths.0"),
    ("stage=localize head=mlp head.min_confidence=-1", "head.min_confidence"),
    ("stage=localize head=linear head.steps=0", "head.steps"),
    ("stage=localize head=linear head.rays=0", "head.rays"),
    ("stage=localize head=linear head.learning_rate=0", "head.learning_rate"),
    ("stage=localize head=linear head.final_lr_fraction=2", "head.final_lr_fraction"),
    ("stage=localize head=linear head.targets=hard", "head.targets"),
    ("stage=localize head=linear head.epochs=0", "head.epochs"),
    ("stage=localize head=linear head.window_from=0.0", "head.window_from"),
    ("stage=localize head=mlp head.steps=0", "head.steps"),
    ("stage=localize head=mlp head.rays=0", "head.rays"),
    ("stage=localize head=mlp head.learning_rate=0", "head.learning_rate"),
    ("stage=localize head=mlp head.final_lr_fraction=2", "head.final_lr_fraction"),
    ("stage=localize head=mlp head.targets=hard", "head.targets"),
    ("stage=localize head=mlp head.epochs=0", "head.epochs"),
    ("stage=localize head=mlp head.window_from=0.0", "head.window_from"),
    ("stage=localize head=lerf head.scales=[0.0]", "head.scales.0"),
    ("stage=localize head=lerf head.scales=[1.5]", "head.scales.0"),
    ("stage=localize head=lerf head.rivals=all", "words, phrases"),
    ("stage=localize head=lerf head.min_confidence=-1", "head.min_confidence"),
    ("stage=localize head=lerf head.top=0", "head.top"),
    ("stage=localize localize.head=lifted", "mapping with _target_"),
    ("stage=distill distiller.labels=0", "distiller.labels"),
    ("stage=distill distiller.characters=0", "distiller.characters"),
    ("stage=distill distiller.min_confidence=2", "distiller.min_confidence"),
    ("stage=distill distiller.caption_weight=2", "distiller.caption_weight"),
    ("stage=distill distiller.category_step=2", "distiller.category_step"),
    ("stage=distill distiller=hf_generate distiller.answers=xml", "distiller.answers"),
    ("stage=distill distiller=hf_generate distiller.labels=0", "distiller.labels"),
    ("stage=distill distiller=hf_generate distiller.ungrounded=2", "distiller.ungrounded"),
    ("stage=distill distiller=hf_generate distiller.min_confidence=2", "distiller.min_confidence"),
    ("stage=distill distiller=hf_generate distiller.characters=0", "distiller.characters"),
    ("stage=distill distiller=hf_generate distiller.beams=0", "distiller.beams"),
    ("stage=distill distiller=hf_generate distiller.tokens=0", "distiller.tokens"),
    ("stage=distill distiller=hf_generate distiller.batch=0", "distiller.batch"),
    ("stage=distill distiller=flan_t5_paper distiller.batch=0", "distiller.batch"),
    ("stage=distill distiller=vllm_engine distiller.answers=xml", "distiller.answers"),
    ("stage=distill distiller=vllm_engine distiller.tokens=0", "distiller.tokens"),
    ("stage=distill distiller=vllm_engine distiller.gpus=0", "distiller.gpus"),
    ("stage=distill distiller=gpt", "Options of distiller"),
    ("stage=distill distiller=openai_server", "distiller.model"),
    ("stage=distill distiller=openai_server distiller.model=m distiller.temperature=-1", "distiller.temperature"),
    (f"{SERVER} distiller.answers=xml", "distiller.answers"),
    (f"{SERVER} distiller.structured=xml", "distiller.structured"),
    (f"{SERVER} distiller.workers=0", "distiller.workers"),
    (f"{SERVER} distiller.tokens=0", "distiller.tokens"),
    (f"{SERVER} distiller.retries=-1", "distiller.retries"),
    (f"{SERVER} distiller.timeout_s=0", "distiller.timeout_s"),
    (f"{SERVER} distiller.backoff_s=0", "distiller.backoff_s"),
    (f"{SERVER} distiller.patience_s=0", "distiller.patience_s"),
    (f"{SERVER} distiller.per_minute=0", "distiller.per_minute"),
    ("stage=mine miner=sift miner.max_ratio=0", "miner.max_ratio"),
    ("stage=mine miner=aliked miner.model=aliked", "aliked-t16, aliked-n16"),
    ("stage=mine miner=disk_lightglue miner.min_score=1.0", "miner.min_score"),
    ("stage=mine miner=loftr miner.min_score=1.0", "miner.min_score"),
    ("stage=mine miner=sfm_tracks miner.short_side=0", "miner.short_side"),
    ("stage=segment segmenter=clipseg segmenter.stride=2", "segmenter.stride"),
    ("stage=segment segmenter=clipseg segmenter.image_size=0", "segmenter.image_size"),
    ("stage=segment segmenter=grounded_sam segmenter.threshold=1.0", "segmenter.threshold"),
    ("stage=segment segmenter=grounded_sam segmenter.boxes=0", "segmenter.boxes"),
    ("stage=segment segmenter=sam3 segmenter.output=masks", "instances, semantic"),
    ("stage=segment segmenter=timm_text segmenter.image_size=8", "segmenter.image_size"),
    ("stage=adapt_clip retriever.trainable=some", "none, lora, full"),
    ("stage=adapt_clip retriever.rank=0", "retriever.rank"),
    ("stage=segment segmenter=masks", "segmenter.path"),
]
COMMAND_LINES: list[tuple[str, str]] = [
    ("stage=collect scene=photos scene.path=fotos/Köln", "'scene.path=\"fotos/Köln\"'"),
    ("stage=collect scene=photos scene.path=a=b", "'scene.path=\"a=b\"'"),
    ('stage=collect scene=photos "scene.path=St. Mary\'s"', "Quote text"),
    ("stage=collect scene=photos 'scene.path=par(en)s'", "'scene.path=\"par(en)s\"'"),
    ("stage=collect scene=photos 'scene.path=br[ack]et'", "'scene.path=\"br[ack]et\"'"),
    ("stage=collect scene=photos 'scene.path=hash#1'", "'scene.path=\"hash#1\"'"),
    ("stage=collect scene=photos 'scene.path=~/photos'", "'scene.path=\"~/photos\"'"),
    ("stage=collect scene=photos 'scene.path=日本'", "日本"),
    ("stage=collect scene=photos 'scene.path=a,b'", "'scene.path=\"a,b\"'"),
    ("stage=collect scene=photos 'scene.path=${nothing}'", "nothing"),
    ("stage=query text=window AND NOT portal", "'text=\"window AND NOT portal\"'"),
    ('stage=query "text=it\'s"', "Quote text"),
    ("stage", "KEY=VALUE"),
    ("=3", "="),
    ("stage=report fieldd=gaussians", "Did you mean field"),
    ("stage=report +field=gaussians", "more than once"),
    ("stage=report ~nothing", "nothing"),
    ("stage=localize ~head", "head"),
    ("stage=report +experiments=dem", "Did you mean experiments=demo"),
]


def judged(line: str) -> tuple[int, str]:
    """Exit code and message of a command line that Hydra can read, without Hydra's own main, which composes twice."""
    from halonerf.cli import composed, run
    from halonerf.config.explanations import COMPOSING_ERRORS
    from halonerf.errors import UserError

    try:
        run(composed(shlex.split(line)))
    except UserError as error:
        return 2, str(error)
    except COMPOSING_ERRORS:
        return run_here(line)
    return 0, ""


def run_here(line: str) -> tuple[int, str]:
    """Exit code and standard error of a command line, run in this process."""
    from halonerf.cli import main

    given, errors, before = shlex.split(line), io.StringIO(), sys.argv
    sys.argv = ["halonerf", *given]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
    return code, errors.getvalue()


def table(cases: Sequence[tuple[str, str]]) -> str:
    """Input, exit code and message of each, as Markdown."""
    rows = ["| halonerf … | exit | message |", "|---|---|---|"]
    for line, _ in cases:
        code, message = run_here(line)
        text = message.strip().replace("\n", "<br>").replace("|", "\\|")
        rows.append(f"| `{line}` | {code} | {text} |")
    return "\n".join(rows)


if __name__ == "__main__":
    Path("photos").mkdir(exist_ok=True)
    print(table([*OPTIONS, *COMMAND_LINES]))
