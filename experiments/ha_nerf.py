"""How fast do the fields learn and draw, and how well do they show photos that they never saw?

    python experiments/ha_nerf.py [--minutes-gaussians 5] [--minutes-ha-nerf 30] [--scenes cathedral herzjesu] [--quick]

Each field is fitted by the stage `reconstruct` in a process of its own. Prints a table; writes
experiments/out/ha_nerf.json and ha_nerf_<scene>.png.

rays_per_s: pixels that the loss looked at, over the seconds of training; four steps before that, for compilation, are
left out, and so are evaluations. frames_per_s: 320 x 240 px; ha_nerf draws 4 of the 240 rows, times 60. psnr_curve:
[seconds of training, mean PSNR of the held-out photos, dB]: light from the left half, scored on the right half; for
ha_nerf on every third pixel of every third row, with 64 + 64 samples a ray and 10 steps for the light instead of 60,
which else would take longer than the fit. peak_memory_mb: of the process; base_memory_mb of it are the libraries.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "out"
SHARED = Path(os.environ.get("HALONERF_SHARED", ROOT.parent / "shared")) / "data"
SCENES = {
    "cathedral": ["scene=cathedral", "ingest.size=240", "ingest.features=3000"],
    "herzjesu": ["scene=photos", f"scene.path={SHARED / 'herzjesu_p25' / 'photos'}", "ingest.size=256"],
}
FIELDS = {
    "gaussians": ["field=gaussians"],
    "ha_nerf": ["field=ha_nerf", "transients=network", "loss.terms.depth.weight=0", "field.render_samples=64"],
}
THINNED = {"gaussians": 1, "ha_nerf": 3}  # every so many pixels are scored
LIGHT_RAYS = 256  # a step of finding a photo's light, where the field takes rays
STRIP = {"gaussians": 240, "ha_nerf": 4}  # rows of the timed frame
WARM_UP = 4  # steps
Score = Callable[[Any], float]  # the mean PSNR of a stage's field


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes-gaussians", type=float, default=5.0, help="of training, at most")
    parser.add_argument("--minutes-ha-nerf", type=float, default=30.0, help="of training; its schedule is fitted to it")
    parser.add_argument("--steps-gaussians", type=int, default=3000, help="of the schedule, whatever time they take")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--light-steps", type=int, default=10, help="to find a photo's light, of ha_nerf")
    parser.add_argument("--photos", type=int, default=100, help="held-out photos that are scored, at most")
    parser.add_argument("--artifacts", default="artifacts", help="where scenes are kept")
    parser.add_argument("--quick", action="store_true", help="a few seconds of either, on the first scene")
    parser.add_argument("--one", nargs=2, metavar=("FIELD", "INGEST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.minutes_gaussians, options.minutes_ha_nerf, options.steps_gaussians = 0.2, 0.5, 150
        options.scenes, options.photos, options.light_steps = options.scenes[:1], 1, 2
    if options.one:
        name, ingest = options.one
        print(json.dumps(measure(name, ingest, options)))
        return
    results = {}
    for scene in options.scenes:
        if scene == "herzjesu" and not SHARED.is_dir():
            print(f"herzjesu left out: no photos in {SHARED} (set HALONERF_SHARED to its parent)")
            continue
        ingest = made_scene(SCENES[scene], options.artifacts)
        results[scene] = together({name: measured(name, ingest, options) for name in FIELDS})
        show(scene, results[scene])
        write(results)


def made_scene(overrides: list[str], artifacts: str) -> str:
    """The folder of the scene's ingest, made where it is not there yet."""
    command = [sys.executable, "-m", "halonerf.cli", "stage=ingest", *overrides, f"artifacts={artifacts}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def measured(name: str, ingest: str, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own, so that memory is the field's alone."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", name, ingest]
    for key in ("minutes_gaussians", "minutes_ha_nerf", "steps_gaussians", "photos", "light_steps"):
        command += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", **os.environ}  # as the command line has it
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(name: str, ingest: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fit one field, with pauses in which it is scored."""
    import lightning  # noqa: F401, sets its loggers' levels when it is loaded
    import torch

    from halonerf.process.memory import keep_freed_memory

    keep_freed_memory()

    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    seconds = 60 * (options.minutes_gaussians if name == "gaussians" else options.minutes_ha_nerf)
    base = peak_mb()
    warm = fit(name, ingest, WARM_UP, seconds=float("inf"), marks=[], score=None)
    steps = options.steps_gaussians
    if name == "ha_nerf":
        steps = max(WARM_UP, int(seconds * warm.steps / warm.seconds))
    first = 2.0 if name == "gaussians" else seconds / 16
    marks = [first * 2**k for k in range(20) if first * 2**k < 0.95 * seconds]
    light_steps = 60 if name == "gaussians" else options.light_steps
    clock = fit(
        name, ingest, steps, seconds, marks, lambda stage: heldout_psnr(name, stage, options.photos, light_steps)
    )
    return {
        "rays_per_s": clock.pixels / clock.seconds,
        "steps": clock.steps,
        "steps_of_schedule": steps,
        "seconds": clock.seconds,
        "peak_memory_mb": peak_mb(),
        "base_memory_mb": base,
        "frames_per_s": frames_per_s(clock.stage, STRIP[name]),
        "elements": clock.stage.field.elements,
        "psnr_curve": clock.curve,
        "threads": torch.get_num_threads(),
    }


def fit(name: str, ingest: str, steps: int, seconds: float, marks: list[float], score: Score | None) -> Any:
    """Run `reconstruct` for so many steps or seconds; the clock that went with it."""
    import lightning
    from omegaconf import OmegaConf

    from halonerf.cli import composed
    from halonerf.factory import build

    config = composed(["scene=cathedral", *FIELDS[name], f"reconstruct.steps={steps}"])
    lightning.seed_everything(0, verbose=False)
    options: Any = OmegaConf.to_container(config["reconstruct"], resolve=True)
    stage = build(options, nested=False)
    with tempfile.TemporaryDirectory() as folder:
        stage.bind(Path(folder), {"ingest": Path(ingest)}, seed=0)
        stage.prepare()
        clock = make_clock(stage, seconds, marks, score)
        trainer = lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            max_epochs=stage.max_epochs,
            callbacks=[clock],
        )
        trainer.fit(stage, datamodule=stage.datamodule())
    stage.train(False).requires_grad_(False)
    if score is not None:
        clock.score()
    return clock


def make_clock(stage: Any, limit: float, marks: list[float], score: Score | None) -> Any:
    """A callback that counts pixels and seconds of training, scores the field at `marks`, and stops at `limit`."""
    from lightning.pytorch.callbacks import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.stage, self.steps, self.pixels, self.seconds = stage, 0, 0, 0.0
            self.curve: list[list[float]] = []
            self.marks = list(marks)
            window = stage.field.training_view

            def counted(*given: Any) -> Any:
                view = window(*given)
                self.pixels += view.width * view.height
                return view

            stage.field.training_view = counted
            self.window, self.counted = window, counted

        def on_train_start(self, *_: Any) -> None:
            self.since = time.perf_counter()

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            self.seconds += time.perf_counter() - self.since
            self.steps += 1
            if self.marks and self.seconds >= self.marks[0]:
                while self.marks and self.seconds >= self.marks[0]:
                    self.marks.pop(0)
                stage.train(False).requires_grad_(False)
                self.score()
                stage.train(True).requires_grad_(True)
            if self.seconds >= limit:
                trainer.should_stop = True
            self.since = time.perf_counter()

        def score(self) -> None:
            assert score is not None
            stage.field.training_view = self.window
            self.curve.append([round(self.seconds, 2), score(stage)])
            stage.field.training_view = self.counted
            print(f"{self.seconds:7.1f} s, step {self.steps}: {self.curve[-1][1]:.2f} dB", file=sys.stderr)

    return Clock()


def heldout_psnr(name: str, stage: Any, photos: int, light_steps: int) -> float:
    """Mean over so many of the held-out photos, dB; fitted ones stand in where none is held out."""
    from halonerf.geometry import sample_image
    from halonerf.stages.reconstruct.image_metrics import score_heldout_photo
    from halonerf.stages.reconstruct.stage import MAX_START_CODES

    field, scores = stage.field, []
    fitted = stage.train_views[:: -(-len(stage.train_views) // MAX_START_CODES)]
    lights = [field.appearance(stage.scene.names[i]) for i in fitted]
    rays = getattr(field, "rays", None)
    if rays is not None:
        field.rays = LIGHT_RAYS
    for i in (stage.scene.indices("test") or stage.train_views)[:photos]:
        view = stage.scene.views[i]
        view = view.resized(view.width // THINNED[name], view.height // THINNED[name])
        photo = sample_image(stage.scene.photo(i).float() / 255, view, antialiased=False)
        valid = sample_image(stage.scene.valid(i)[..., None].float(), view, antialiased=False)[..., 0] > 0.99
        scores.append(score_heldout_photo(field, view, photo, valid, lights, light_steps, None)["psnr"])
    if rays is not None:
        field.rays = rays
    defined = [score for score in scores if score is not None]
    return round(sum(defined) / len(defined), 3)


def frames_per_s(stage: Any, rows: int) -> float:
    """Of 320 x 240 px, from the first fitted photo's place."""
    import torch

    field = stage.field
    view = stage.scene.views[stage.train_views[0]].resized(320, 240).cropped(0, (240 - rows) // 2, 320, rows)
    times: list[float] = []
    with torch.no_grad():
        while sum(times) < 2 or len(times) < 2:
            start = time.perf_counter()
            field.render(view, field.mean_appearance())
            times.append(time.perf_counter() - start)
    return rows / 240 / (sum(times[1:]) / len(times[1:]))


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1)


def together(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Figures by their name, then by field, and what one field's say about the other's."""
    figures: dict[str, Any] = {key: {name: made[key] for name, made in fields.items()} for key in fields["gaussians"]}
    figures["rays_ratio"] = figures["rays_per_s"]["gaussians"] / figures["rays_per_s"]["ha_nerf"]
    goal = figures["psnr_curve"]["ha_nerf"][-1][1]
    passed = [seconds for seconds, value in figures["psnr_curve"]["gaussians"] if value >= goal]
    figures["gaussians_pass_ha_nerf_by_s"] = passed[0] if passed else None  # the first of the evaluations after
    return figures


def show(scene: str, figures: dict[str, Any]) -> None:
    """Print the table."""
    print(f"\n{scene:<12} {'rays/s':>10} {'frames/s':>10} {'MB':>8} {'steps':>7} {'train s':>8} {'PSNR dB':>8}")
    for name in FIELDS:
        row = {key: figures[key][name] for key in ("rays_per_s", "frames_per_s", "peak_memory_mb", "steps", "seconds")}
        print(
            f"{name:<12} {row['rays_per_s']:10.0f} {row['frames_per_s']:10.3f} {row['peak_memory_mb']:8.0f} "
            f"{row['steps']:7d} {row['seconds']:8.1f} {figures['psnr_curve'][name][-1][1]:8.2f}"
        )
    print(
        f"gaussians learn from {figures['rays_ratio']:.0f} times as many rays a second, "
        f"and had passed ha_nerf's last PSNR after {figures['gaussians_pass_ha_nerf_by_s']} s"
    )


def write(results: dict[str, Any]) -> None:
    """The JSON, with the first scene's figures at the top, and a picture of each scene's curves."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    OUT.mkdir(exist_ok=True)
    first = next(iter(results))
    top = {key: results[first][key] for key in ("rays_per_s", "rays_ratio", "psnr_curve")}
    whole = {"scene": first, "cores": os.cpu_count(), **top, "scenes": results}
    (OUT / "ha_nerf.json").write_text(json.dumps(whole, indent=2) + "\n")
    for scene, figures in results.items():
        figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
        for name, curve in figures["psnr_curve"].items():
            axes.plot(*zip(*curve, strict=True), marker="o", label=name)
        axes.set(xscale="log", xlabel="training time, s", ylabel="PSNR of held-out photos, dB", title=scene)
        low, high = axes.get_xlim()
        ticks = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]
        axes.set_xticks([t for t in ticks if low <= t <= high], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(OUT / f"ha_nerf_{scene}.png", dpi=120)
        pyplot.close(figure)


if __name__ == "__main__":
    main()
