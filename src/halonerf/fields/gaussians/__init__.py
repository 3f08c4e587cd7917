"""3D Gaussian splatting with appearance codes, trained on CPU or CUDA."""

__all__: list[str] = []
