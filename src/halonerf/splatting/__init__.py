"""Gaussian splatting: one differentiable function, `halonerf.splatting.rasterise.rasterise`, with several engines."""
