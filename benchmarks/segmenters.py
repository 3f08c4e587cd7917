"""How fast do the segmenters encode photos and decode words, and how much memory do they take?

    python benchmarks/segmenters.py [--segmenters timm_text clipseg …] [--photo 480x640] [--threads 1] [--device cpu]

Every segmenter runs in a process of its own. Prints a table; writes benchmarks/out/segmenters.json.

Weights are random where the published ones are not needed: time and memory depend on shapes alone. clipseg,
sam3 and grounded_sam have the published models' sizes (written by hand below, nothing is downloaded), timm_text is the
package's. The last two are large: they run only when named.

encode_s: seconds a photo of the given size. decode_s: seconds for one more word in that photo, its text tower
included. whole_s: encode and decode of one word. decode_gain = whole_s / decode_s: how much cheaper one more word is
than starting anew. In each repetition the two are timed one after the other, so that the ratio does not depend on
how busy the machine is between them; figures are medians over repetitions. batch_gain: photos a second when four are
encoded together, over one by one. peak_memory_mb: of the process, of which base_memory_mb before the model is built.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
SMALL, LARGE = ("timm_text", "clipseg"), ("sam3", "grounded_sam")
WORDS = ("rose window", "portal", "bell tower", "tympanum", "minaret", "flying buttress", "dome", "statue")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segmenters", nargs="+", default=list(SMALL), choices=[*SMALL, *LARGE])
    parser.add_argument("--photo", default="480x640", help="height x width, px")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    results = {name: measured(name, options) for name in options.segmenters}
    show(results, options)
    OUT.mkdir(exist_ok=True)
    conditions = {key: getattr(options, key) for key in ("photo", "repeats", "threads", "device")}
    written = {**conditions, "cores": os.cpu_count(), "segmenters": results}
    (OUT / "segmenters.json").write_text(json.dumps(written, indent=2) + "\n")


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own, so that memory is the segmenter's alone."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", name]
    for key in ("photo", "repeats", "threads", "device"):
        command += [f"--{key}", str(getattr(options, key))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one segmenter."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    height, width = (int(side) for side in options.photo.split("x"))
    photos = torch.rand(4, 3, height, width).to(options.device)
    base = peak_mb()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        segmenter = MAKERS[name](Path(folder)).eval().to(options.device)
        encoded = segmenter.encode(photos[:1])
        segmenter.decode(encoded, WORDS[:1])
        encode, decode, together = [], [], []
        for index in range(options.repeats):
            word = [WORDS[index % len(WORDS)]]
            encode.append(seconds(lambda: segmenter.encode(photos[:1]), options.device))
            decode.append(seconds(lambda word=word: segmenter.decode(encoded, word), options.device))
            if name in SMALL:
                together.append(seconds(lambda: segmenter.encode(photos), options.device) / 4)
    whole = [slow + light for slow, light in zip(encode, decode, strict=True)]
    return {
        "encode_s": statistics.median(encode),
        "decode_s": statistics.median(decode),
        "whole_s": statistics.median(whole),
        "decode_gain": statistics.median(w / d for w, d in zip(whole, decode, strict=True)),
        "batch_gain": statistics.median(e / t for e, t in zip(encode, together, strict=True)) if together else None,
        "photos_per_s": 1 / statistics.median(encode),
        "prompts_per_s": 1 / statistics.median(decode),
        "encoding_mb": sum(value.element_size() * value.numel() for value in encoded.values()) / 2**20,
        "peak_memory_mb": peak_mb(),
        "base_memory_mb": base,
        "gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if options.device == "cuda" else None,
        "parameters": sum(parameter.numel() for parameter in segmenter.parameters()),
    }


def seconds(work: Callable[[], Any], device: str) -> float:
    import torch

    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def timm_text(folder: Path) -> Any:
    """The package's."""
    from halonerf.segmenters.timm_text import TimmText

    return TimmText()


def clipseg(folder: Path) -> Any:
    """rd64-refined: CLIP's ViT-B/16, three layers of width 64 that read layers 3, 6 and 9, three convolutions."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessor

    from halonerf.segmenters.clipseg import ClipSeg

    vocabulary = write_tokenizer(folder, 77)
    text = {"vocab_size": 49408, "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": 1}
    config = CLIPSegConfig(
        text_config=text,
        vision_config={"patch_size": 16},
        reduce_dim=64,
        extract_layers=[3, 6, 9],
        use_complex_transposed_convolution=True,
    )
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 352, "width": 352}).save_pretrained(folder)
    return ClipSeg(str(folder))


def sam3(folder: Path) -> Any:
    """As published: all of transformers' defaults."""
    from transformers import CLIPTokenizer, Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    from halonerf.segmenters.sam3 import Sam3

    write_tokenizer(folder, 32)
    Sam3Model(Sam3Config()).save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(), CLIPTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return Sam3(str(folder))


def grounded_sam(folder: Path) -> Any:
    """The tiny ones of the published: Swin-T and Hiera-T. The threshold lets a few of the random boxes through."""
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        Sam2Config,
        Sam2ImageProcessor,
        Sam2Model,
        Sam2Processor,
    )

    from halonerf.segmenters.grounded_sam import GroundedSam

    detector, cutter = folder / "detector", folder / "cutter"
    detector.mkdir()
    special = {100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: "."}
    words = ["[PAD]", *(special.get(i, f"[unused{i}]") for i in range(1, 2000)), *letters()]
    (detector / "vocab.txt").write_text("\n".join(words))
    reader = GroundingDinoProcessor(GroundingDinoImageProcessor(), BertTokenizer(str(detector / "vocab.txt")))
    reader.save_pretrained(detector)
    backbone = {"model_type": "swin", "window_size": 7, "embed_dim": 96, "depths": [2, 2, 6, 2]}
    backbone |= {"num_heads": [3, 6, 12, 24], "out_indices": [2, 3, 4]}
    GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=backbone)).save_pretrained(detector)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(cutter)
    Sam2Model(Sam2Config()).save_pretrained(cutter)
    return GroundedSam(str(detector), str(cutter), threshold=1e-6, boxes=10)


def write_tokenizer(folder: Path, length: int) -> int:
    """CLIP's tokenizer with letters alone, in a vocabulary of its size; a word takes a few more tokens than there."""
    from transformers import CLIPTokenizer

    words = [*(f"unused{i}" for i in range(49406 - 52)), *letters(), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=length).save_pretrained(
        folder
    )
    return len(words)


def letters() -> list[str]:
    """As CLIP's tokenizer has them, within and at the end of a word."""
    import string

    return [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]


MAKERS: dict[str, Callable[[Path], Any]] = {
    "timm_text": timm_text,
    "clipseg": clipseg,
    "sam3": sam3,
    "grounded_sam": grounded_sam,
}


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1)


def show(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the table."""
    print(f"\nphoto {options.photo}, {options.threads} thread(s), {options.device}")
    print(
        f"{'segmenter':<13} {'photos/s':>9} {'prompts/s':>10} {'whole / one more word':>22} {'batch of 4':>11} "
        f"{'encoding MB':>12} {'peak MB':>8} {'libraries MB':>13}"
    )
    for name, row in results.items():
        batch = f"{row['batch_gain']:.2f}" if row["batch_gain"] else "-"
        print(
            f"{name:<13} {row['photos_per_s']:9.3f} {row['prompts_per_s']:10.3f} {row['decode_gain']:22.1f} "
            f"{batch:>11} {row['encoding_mb']:12.2f} {row['peak_memory_mb']:8.0f} {row['base_memory_mb']:13.0f}"
        )


if __name__ == "__main__":
    main()
