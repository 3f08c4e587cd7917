"""Render passes of a landmark by Mitsuba: direct light, irradiance of the sky, colours, surface indices and depth.

Direct light of the sun is noise-free (one shadow ray per sample); the sky's irradiance is estimated on white surfaces
with few samples, smoothed along them and multiplied by their colours. Indirect light is approximated by a constant.
Surfaces emit a millionth of the light with the value that a pass reads: their colour, or their index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halonerf.data.procedural.camera import Camera
from halonerf.data.procedural.light import OutdoorLight, overcast_sky
from halonerf.data.procedural.mesh import Array, MeshBuilder, MeshSurface
from halonerf.data.procedural.textures import Texture
from halonerf.errors import require

LIGHT_SCALE = 1e6  # ratio of light to the emission that carries colours and indices
NEAR_PLANE = 0.1  # metres


@dataclass(frozen=True)
class RenderPasses:
    """Render passes of one view, linear: sun, irradiance, colour, backdrop [H, W, 3]; coverage, depth, number [H, W].

    sun: reflected direct light. irradiance: the sky's, over pi. backdrop: radiance of the sky. depth: metres along the
    optical axis at pixel centres, 0 for sky. number: index into `surfaces`, -1 for sky.
    """

    sun: Array
    irradiance: Array
    colour: Array
    backdrop: Array
    coverage: Array
    depth: Array
    number: NDArray[np.int64]
    surfaces: tuple[MeshSurface, ...]

    def mask(self, concept: str) -> NDArray[np.bool_]:
        """Pixels whose centre shows the concept, bool [H, W]."""
        members = [k for k, surface in enumerate(self.surfaces) if concept in surface.concepts]
        return np.isin(self.number, members)


class SceneRenderer:
    """Renderer of a landmark.

    Args:
        mesh: the landmark with its surroundings.
        textures: by material; surfaces with vertex colours need none.
        threads: of this process; 0: Mitsuba's default, all cores.
    """

    def __init__(self, mesh: MeshBuilder, textures: dict[str, Texture], threads: int = 0) -> None:
        self._mi = _mitsuba(threads)
        self._textures = textures
        self._paint = {
            name: self._mi.load_dict({"type": "bitmap", "bitmap": self._mi.Bitmap(t.pixels), "raw": False})
            for name, t in textures.items()
        }
        self._surfaces = tuple(mesh.surfaces())
        self._coloured = [self._mesh(s, None) for s in self._surfaces]
        self._numbered = [self._mesh(s, k) for k, s in enumerate(self._surfaces)]
        self._still = self._scene(self._numbered, {})

    def depth(self, camera: Camera) -> Array:
        """Depth without transients, metres along the optical axis at pixel centres, [H, W], 0 for sky."""
        return self._depth(self._still, camera)

    def render_passes(
        self, camera: Camera, light: OutdoorLight, transients: MeshBuilder, samples: int, seed: int
    ) -> RenderPasses:
        """Render the landmark with `transients` on its square; samples: light paths per pixel."""
        surfaces = (*self._surfaces, *transients.surfaces())
        added = surfaces[len(self._surfaces) :]
        coloured = self._coloured + [self._mesh(s, None) for s in added]
        numbered = self._numbered + [self._mesh(s, len(self._surfaces) + k) for k, s in enumerate(added)]
        for surface, *meshes in zip(surfaces, coloured, numbered, strict=True):
            self._face_camera(surface, meshes, camera)
        sources, sky = self._sources(light)
        lit, open_air = self._scene(coloured, sources), self._scene(numbered, {"sky": sky})
        half, quarter = max(samples // 2, 1), max(samples // 4, 2)
        lamps = {"type": "direct", "emitter_samples": 4 if light.floodlights else 1, "bsdf_samples": 0}
        plain = {"type": "path", "max_depth": 1}
        direct = self._render(lit, camera, lamps, half, seed) if sources else np.zeros((camera.height, camera.width, 4))
        colour = self._render(lit, camera, plain, quarter if light.hour == "day" else half, seed + 1)
        glimmer = self._render(open_air, camera, {**lamps, "emitter_samples": 1}, quarter, seed + 2)
        depth = self._depth(open_air, camera)
        number = self._render(open_air, camera, plain, 1, seed)[..., 0]
        backdrop = self._render(self._scene([], {"sky": sky}), camera, plain, 1, seed)[..., :3] / LIGHT_SCALE
        irradiance = glimmer[..., :3] / LIGHT_SCALE - (1 - glimmer[..., 3:]) * backdrop
        return RenderPasses(
            sun=direct[..., :3] / LIGHT_SCALE,
            irradiance=np.maximum(irradiance, 0) / np.maximum(glimmer[..., 3:], 0.25),
            colour=colour[..., :3],
            backdrop=backdrop,
            coverage=colour[..., 3] if not sources else direct[..., 3],
            depth=depth,
            number=np.where(depth > 0, np.rint(number).astype(np.int64) - 1, -1),
            surfaces=surfaces,
        )

    def sunlight(self, light: OutdoorLight) -> Array:
        """The sun's irradiance on a plane that faces it, [3] RGB, in the units of the sky's radiance."""
        t = self._mi.ScalarTransform4f
        plane = {
            "type": "rectangle",
            "to_world": t().look_at([0, 0, 0], list(light.sun), [0, 0, 1]),
            "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [1.0, 1.0, 1.0]}},
        }
        scene = self._mi.load_dict(
            {"type": "scene", "plane": plane, "sun": {**self._sunsky(light), "sky_scale": 0.0, "sun_scale": 1.0}}
        )
        away = Camera.looking(4, 4, 400.0, light.sun * 5.0, np.zeros(3))
        picture = self._render(scene, away, {"type": "direct", "emitter_samples": 1, "bsdf_samples": 0}, 16, 0)
        return picture[..., :3].mean((0, 1)) * np.pi

    def _sunsky(self, light: OutdoorLight) -> dict[str, Any]:
        return {"type": "sunsky", "sun_direction": list(light.sun), "turbidity": light.turbidity, "albedo": 0.25}

    def _sources(self, light: OutdoorLight) -> tuple[dict[str, Any], dict[str, Any]]:
        """Lamps or sun for direct light, and the sky."""
        if light.hour == "night":
            sky: dict[str, Any] = {
                "type": "constant",
                "radiance": {"type": "rgb", "value": [0.010 * LIGHT_SCALE, 0.014 * LIGHT_SCALE, 0.030 * LIGHT_SCALE]},
            }
            t = self._mi.ScalarTransform4f
            lamps = {
                f"lamp{k}": {
                    "type": "spot",
                    "to_world": t().look_at(list(place), list(aim), [0, 0, 1]),
                    "cutoff_angle": 55.0,
                    "beam_width": 25.0,
                    "intensity": {"type": "rgb", "value": [c * power * 90 * LIGHT_SCALE for c in light.colour]},
                }
                for k, (place, aim, power) in enumerate(light.floodlights)
            }
            return lamps, sky
        if light.hour == "overcast":
            turn = self._mi.ScalarTransform4f().rotate([1, 0, 0], 90)
            bitmap = self._mi.Bitmap((overcast_sky() * LIGHT_SCALE).astype(np.float32))
            return {}, {"type": "envmap", "bitmap": bitmap, "to_world": turn}
        sky = {**self._sunsky(light), "sun_scale": 0.0, "sky_scale": LIGHT_SCALE}
        power = [float(p) * LIGHT_SCALE for p in self.sunlight(light)]
        return {
            "sun": {
                "type": "directional",
                "direction": [-float(x) for x in light.sun],
                "irradiance": {"type": "rgb", "value": power},
            }
        }, sky

    def _mesh(self, surface: MeshSurface, number: int | None) -> Any:
        """Textured mesh (number None), or a white one that emits its number + 1."""
        mi, count = self._mi, len(surface.vertices)
        own = surface.colours is not None
        paint = (
            mi.load_dict({"type": "mesh_attribute", "name": "vertex_color"}) if own else self._paint[surface.material]
        )
        white = {"type": "rgb", "value": [1.0, 1.0, 1.0]}
        glow = paint if number is None else {"type": "rgb", "value": [number + 1.0] * 3}
        properties = mi.Properties()
        properties["bsdf"] = mi.load_dict({"type": "diffuse", "reflectance": paint if number is None else white})
        properties["emitter"] = mi.load_dict({"type": "area", "radiance": glow, "sampling_weight": 0.0})
        mesh = mi.Mesh(surface.material, 3 * count, count, has_vertex_texcoords=not own, props=properties)
        if surface.colours is not None:
            mesh.add_attribute("vertex_color", 3, np.repeat(surface.colours, 3, axis=0).astype(np.float32).ravel())
        data = mi.traverse(mesh)
        data["vertex_positions"] = surface.vertices.astype(np.float32).ravel()
        data["faces"] = np.arange(3 * count, dtype=np.uint32)
        if not own:
            data["vertex_texcoords"] = (surface.uv / self._textures[surface.material].metres).astype(np.float32).ravel()
        data.update()
        return mesh

    def _face_camera(self, surface: MeshSurface, meshes: list[Any], camera: Camera) -> None:
        """Orient every triangle towards the camera: only front sides are lit and emit."""
        v = surface.vertices
        normal = np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0])
        away = ((camera.position - v[:, 0]) * normal).sum(1) < 0
        faces = np.arange(3 * len(v), dtype=np.uint32).reshape(-1, 3)
        faces[away] = faces[away][:, [0, 2, 1]]
        for mesh in meshes:
            data = self._mi.traverse(mesh)
            data["faces"] = faces.ravel()
            data.update()

    def _scene(self, meshes: list[Any], lights: dict[str, Any]) -> Any:
        if not lights:  # Mitsuba demands a light that can be sampled
            lights = {"dark": {"type": "point", "intensity": {"type": "rgb", "value": [0.0, 0.0, 0.0]}}}
        return self._mi.load_dict({"type": "scene", **{f"mesh{k}": m for k, m in enumerate(meshes)}, **lights})

    def _render(self, scene: Any, camera: Camera, integrator: dict[str, Any], samples: int, seed: int) -> Array:
        """Image, linear RGBA, [H, W, 4]; a single sample is at the pixel's centre, several are spread over it."""
        mi = self._mi
        sampler = {"type": "independent", "sample_count": samples}
        if samples == 1:
            sampler = {"type": "stratified", "sample_count": 1, "jitter": False}
        film = {
            "type": "hdrfilm",
            "width": camera.width,
            "height": camera.height,
            "rfilter": {"type": "box"},
            "pixel_format": "rgba",
            "component_format": "float32",
        }
        target = camera.position + camera.forward
        sensor = {
            "type": "perspective",
            "fov_axis": "x",
            "fov": float(np.degrees(2 * camera.half_angle)),
            "near_clip": NEAR_PLANE,
            "to_world": mi.ScalarTransform4f().look_at(
                list(camera.position), list(target), list(-camera.rotation[:, 1])
            ),
            "film": film,
            "sampler": sampler,
        }
        picture = mi.render(scene, sensor=mi.load_dict(sensor), integrator=mi.load_dict(integrator), seed=seed)
        return np.asarray(picture, dtype=np.float64)

    def _depth(self, scene: Any, camera: Camera) -> Array:
        """Depth, metres along the optical axis, [H, W]; rays start on the near plane."""
        along = self._render(scene, camera, {"type": "depth"}, 1, 0)[..., 0]
        return np.where(along > 0, along / np.linalg.norm(camera.rays(), axis=-1) + NEAR_PLANE, 0.0)


def _mitsuba(threads: int) -> Any:
    require("mitsuba", "procedural")
    import drjit
    import mitsuba

    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    if threads:
        drjit.set_thread_count(threads)
    return mitsuba
