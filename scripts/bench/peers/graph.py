"""What the peers have in common that run the graph of scripts/bench/forward.mjs, an ONNX file as `bang export` writes it."""

from pathlib import Path

import numpy as np

from .timing import Report, timed


def forward(mode, prepare):
    """The forward job of a peer. `prepare(model, pixels, threads)` returns what computes and what then reads the logits."""

    def job(network, options):
        folder = Path(options.files)
        height, width, channels = options.shape
        pixels = np.fromfile(folder / "pixels.f32", np.float32).reshape(-1, channels, height, width)
        compute, logits = prepare(str(folder / "model.onnx"), pixels, options.threads)
        compute()
        # Who asked for the times compares these with its own.
        np.ascontiguousarray(logits(), np.float32).tofile(folder / "theirs.f32")
        report = Report(f"{network}.forward.{len(pixels)}")
        report.add(mode, *timed([compute], options.runs))
        report.print()

    return job
