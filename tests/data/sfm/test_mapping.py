"""Structure from motion around COLMAP: pair proposals, cameras, rebuilt models, the world frame."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from halonerf.data.photo_io import PhotoFacts
from halonerf.data.scene.world_frame import estimate_up, normalise
from halonerf.data.sfm.features import mapping_scale
from halonerf.data.sfm.mapping import make_cameras, rebuild, scaled_camera
from halonerf.data.sfm.pairing import propose_pairs
from halonerf.data.sfm.shared_cameras import refine, shared_groups
from halonerf.sift import SiftFeatures


def synthetic(photos: int = 6, **options: object) -> pycolmap.Reconstruction:
    chosen = pycolmap.SyntheticDatasetOptions()
    chosen.num_rigs, chosen.num_cameras_per_rig, chosen.num_frames_per_rig = photos, 1, 1
    chosen.num_points3D = 80
    for name, value in options.items():
        setattr(chosen, name, value)
    pycolmap.set_random_seed(0)
    return pycolmap.synthesize_dataset(chosen)


def fake_features(place: int, count: int = 200) -> SiftFeatures:
    """Descriptors around directions that belong to a place."""
    random = np.random.default_rng(place)
    centres = np.random.default_rng(1000 + place % 10).random((20, 128)) ** 4
    values = centres[random.integers(0, 20, count)] + 0.02 * random.random((count, 128))
    values = values / np.linalg.norm(values, axis=1, keepdims=True) * 512
    return SiftFeatures(
        np.zeros((count, 2), np.float32), np.ones(count, np.float32), values.clip(0, 255).astype(np.uint8)
    )


def test_small_collections_are_compared_exhaustively():
    pairs = propose_pairs([fake_features(i) for i in range(5)], 5, neighbours=1, sequence=1, seed=0)
    assert pairs.tolist() == [[i, j] for i in range(5) for j in range(i + 1, 5)]


def test_large_collections_compare_similar_photos_and_successors():
    features = [fake_features(i) for i in range(40)]  # photo i shows place i % 10
    pairs = propose_pairs(features, exhaustive_limit=10, neighbours=3, sequence=2, seed=0)
    proposed = {tuple(p) for p in pairs.tolist()}
    assert proposed >= {(i, j) for i in range(40) for j in range(i + 10, 40, 10)}
    assert proposed >= {(i, i + 1) for i in range(39)} | {(i, i + 2) for i in range(38)}
    assert len(proposed) < 40 * 5
    assert pairs.tolist() == propose_pairs(features, 10, 3, 2, 0).tolist()


def test_cameras_take_focal_lengths_from_exif_and_are_shared_where_exif_says_so():
    facts = [
        PhotoFacts("a", width=2000, height=1000, focal=1500.0, camera="X|1500.0|2000x1000"),
        PhotoFacts("b", width=2000, height=1000, focal=1500.0, camera="X|1500.0|2000x1000"),
        PhotoFacts("c", width=300, height=200),
        PhotoFacts("d", width=300, height=200),
    ]
    scales = [mapping_scale(f.width, f.height, 1000) for f in facts]
    cameras = make_cameras(facts, scales)
    assert scales == [0.5, 0.5, 1.0, 1.0]
    assert [c.camera_id for c in cameras] == [1, 1, 2, 3]
    assert cameras[0].focal_length == 750.0
    assert [c.has_prior_focal_length for c in cameras] == [True, True, False, False]
    assert cameras[2].focal_length == pytest.approx(1.2 * 300)


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "OPENCV", "OPENCV_FISHEYE", "FOV"])
def test_a_rescaled_camera_sees_the_same_rays(model: str):
    camera = pycolmap.Camera.create_from_model_name(1, model, 500.0, 640, 480)
    params = np.array(camera.params)
    params[list(camera.extra_params_idxs())] = 0.05
    camera.params = params
    rays = np.array([[0.1, 0.2, 1.0], [-0.3, 0.05, 1.0]])
    scaled = scaled_camera(camera, 2.5, 1600, 1200)
    np.testing.assert_allclose(scaled.img_from_cam(rays), 2.5 * np.asarray(camera.img_from_cam(rays)), atol=1e-9)


def test_rebuilding_keeps_poses_and_points_and_moves_pixels():
    model = synthetic()
    ids = sorted(model.reg_image_ids())
    keep = {i: (f"new/{i}.jpg", 2.0, 2048, 1536) for i in ids[:4]}
    copy = rebuild(model, keep)
    assert sorted(copy.reg_image_ids()) == ids[:4]
    for i in ids[:4]:
        assert copy.image(i).name == f"new/{i}.jpg"
        np.testing.assert_allclose(copy.image(i).cam_from_world().matrix(), model.image(i).cam_from_world().matrix())
    seen = sum(sum(e.image_id in keep for e in model.point3D(p).track.elements) >= 2 for p in model.point3D_ids())
    assert copy.num_points3D() == seen > 50
    for point_id in copy.point3D_ids():
        point = copy.point3D(point_id)
        for element in point.track.elements:
            image = copy.image(element.image_id)
            projected = image.project_point(point.xyz)
            np.testing.assert_allclose(projected, image.points2D[element.point2D_idx].xy, atol=1e-6)


def test_photos_of_one_camera_are_recognised_and_share_it():
    model = synthetic(photos=6, camera_model_id=pycolmap.CameraModelId.SIMPLE_RADIAL, camera_params=[1280, 512, 384, 0])
    for k, camera_id in enumerate(sorted(model.cameras)):
        camera = model.camera(camera_id)
        params = np.array(camera.params)
        params[0] *= 1 + 0.002 * (k - 2.5)
        camera.params = params
    replace = shared_groups(model)
    assert len(replace) == 5
    assert len(set(replace.values())) == 1
    keep = {i: (model.image(i).name, 1.0, 1024, 768) for i in model.reg_image_ids()}
    together = rebuild(model, keep, replace)
    assert refine(together, 1) < 1e-3
    (camera_id,) = {together.image(i).camera_id for i in together.reg_image_ids()}
    assert together.camera(camera_id).focal_length == pytest.approx(1280, rel=1e-3)


def test_photos_at_different_zooms_keep_their_own_cameras():
    model = synthetic(photos=6, camera_model_id=pycolmap.CameraModelId.SIMPLE_RADIAL, camera_params=[1280, 512, 384, 0])
    for k, camera_id in enumerate(sorted(model.cameras)):
        camera = model.camera(camera_id)
        params = np.array(camera.params)
        params[0] *= 1.1**k
        camera.params = params
    assert shared_groups(model) == {}


def level_cameras(yaws: np.ndarray, pitches: np.ndarray, rolls: np.ndarray) -> np.ndarray:
    """World-to-camera [V, 3, 4], z up in the world; angles in radians; cameras stand on a circle and look inwards."""
    poses = []
    for yaw, pitch, roll in zip(yaws, pitches, rolls, strict=True):
        forward = np.array([-np.cos(yaw) * np.cos(pitch), -np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
        rotation = np.stack([right, down, forward])
        centre = 3 * np.array([np.cos(yaw), np.sin(yaw), 0.0])
        poses.append(np.column_stack([rotation, -rotation @ centre]))
    return np.stack(poses)


@pytest.mark.parametrize("spread", [0.7, 3.0])
def test_up_is_found_from_tilted_cameras(spread: float):
    random = np.random.default_rng(0)
    rolls = np.radians(random.normal(0, 1.0, 24))
    rolls[:3] = np.radians([90.0, -90.0, 35.0])  # held on the side, and carelessly
    poses = level_cameras(random.uniform(-spread, spread, 24), np.radians(random.uniform(5, 30, 24)), rolls)
    angle = np.degrees(np.arccos(estimate_up(poses)[2]))
    assert angle < 1.5  # one degree of unsteady hands, 24 of them, three misled


def test_up_is_determined_where_all_cameras_face_the_same_way():
    poses = level_cameras(np.full(5, 0.3), np.radians([0.0, 1.0, -1.0, 0.5, 0.0]), np.zeros(5))
    assert estimate_up(poses)[2] > np.cos(np.radians(2))


def test_the_world_is_centred_scaled_and_upright():
    random = np.random.default_rng(0)
    poses = level_cameras(np.radians(np.linspace(-40, 40, 9)), np.full(9, 0.2), np.zeros(9))
    points = random.normal(0, 0.5, (400, 3)) * [0.3, 1.0, 1.0]
    # the same scene in another frame
    turn, shift, scale = np.linalg.qr(random.normal(size=(3, 3)))[0], np.array([5.0, -2.0, 9.0]), 7.0
    turn *= np.linalg.det(turn)
    moved = scale * points @ turn.T + shift
    rotations = poses[:, :, :3] @ turn.T
    centres = scale * (-np.einsum("vji,vj->vi", poses[:, :, :3], poses[:, :, 3])) @ turn.T + shift
    moved_poses = np.concatenate([rotations, -np.einsum("vij,vj->vi", rotations, centres)[:, :, None]], axis=2)
    frame = normalise(moved, moved_poses)
    out = frame.points(moved)
    np.testing.assert_allclose(np.median(out, axis=0), 0, atol=0.15)  # the median is taken before the rotation
    assert np.quantile(np.linalg.norm(out, axis=1), 0.9) == pytest.approx(1.0)
    np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(frame.rotation) == pytest.approx(1.0)
    cameras = frame.camera_to_world(moved_poses)
    assert (cameras[:, 1, 3] < -1).all(), "cameras stand on the -y side"
    np.testing.assert_allclose(cameras[:, 2, 0], 0, atol=0.005)  # level x axes, up to the 0.3 degrees of LEVEL_WEIGHT
    homogeneous = np.column_stack([moved, np.ones(len(moved))]) @ frame.matrix().T
    np.testing.assert_allclose(homogeneous[:, :3], out, atol=1e-9)
    # projections do not change
    local = np.einsum("vij,nj->vni", moved_poses[:, :, :3], moved) + moved_poses[:, None, :, 3]
    again = np.einsum("vji,vnj->vni", cameras[:, :, :3], out[None] - cameras[:, None, :, 3])
    np.testing.assert_allclose(again, frame.scale * local, atol=1e-8)
