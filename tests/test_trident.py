"""Trident's parts (spec 2.12, 2.13): splicing, affinity, SAM's view, against textbook forms and reference cases."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from golden import Case, cases
from segloop.attention.affinity import CAP, SideBySide, Trident, affinity
from segloop.attention.operators import Shared, mean_similarity, proxy_weights
from segloop.common.fitting import fitted
from segloop.errors import OptionError
from segloop.images import patched_size
from segloop.maps.splice import in_whole_patches, splice
from segloop.maps.windows import layout
from tolerances import EXACT, U


def recorded(kind: str) -> list[Case]:
    return cases(f"H_masks/{kind}")


def close(found: np.ndarray, expected: np.ndarray, tolerance: dict) -> None:
    difference = np.abs(found - expected)
    assert difference.max() <= tolerance.get("never_above", tolerance["max_abs"])
    assert (difference > tolerance["max_abs"]).mean() <= tolerance.get("may_exceed_fraction", 0)


# --- splicing ---


@pytest.mark.parametrize("case", recorded("splice"), ids=str)
def test_recorded_splices(case: Case):
    manifest, arrays = case.manifest, case.arrays
    params = manifest["params"]
    where = layout(tuple(manifest["image"]), params["crop"], params["stride"], 1)
    joined = splice(torch.from_numpy(arrays["features"]), where, params["patch"])
    found = F.interpolate(joined[None], size=tuple(manifest["target_grid"]), mode="bilinear")[0]
    close(found.numpy(), arrays["spliced"], manifest["tolerance"])


def test_splicing_a_map_that_was_cut_gives_it_back():
    whole = torch.randn(3, 6, 9, dtype=torch.float64)
    where = layout((96, 144), 64, 48, 1)
    assert in_whole_patches(where, 16) and not in_whole_patches(where, 32)
    cut = [whole[:, a // 16 : b // 16, c // 16 : d // 16] for a, b in where.rows for c, d in where.columns]
    assert (splice(torch.stack(cut), where, 16) - whole).abs().max() <= EXACT


def test_windows_that_are_no_square_are_spliced():
    where = layout((32, 96), 64, 32, 1)
    found = splice(torch.ones(2, 1, 2, 4), where, 16)
    assert found.shape == (1, 2, 6) and (found == 1).all()


# --- sizes ---


@pytest.mark.parametrize(
    ("size", "patch", "expected"),
    [((448, 620), 16, (464, 624)), ((403, 336), 16, (416, 352)), ((526, 400), 14, (532, 406)), ((352, 704), 16, None)],
)
def test_sides_become_whole_patches(size: tuple[int, int], patch: int, expected: tuple[int, int] | None):
    assert patched_size(size, patch, 336) == (expected or size)


def test_sides_below_a_window_are_raised():
    assert patched_size((200, 448), 16, 336) == (336, 448)  # 200 is no multiple: the release raises it, too
    assert patched_size((208, 448), 16, 336) == (336, 448)


def test_frames_round_halves_up():
    assert fitted(208, 288, 1024) == (740, 1024)
    assert fitted(3, 2048, 1024) == (2, 1024)
    assert fitted(1, 5000, 1024) == (1, 1024)


# --- affinity ---


def written_out(attention: torch.Tensor, values: torch.Tensor, constants: Trident) -> torch.Tensor:
    """2.12.4 with every matrix stored: (h, N, N), (h, N, d) -> (N, N)."""
    unit = values / values.norm(dim=-1, keepdim=True)
    alike = unit @ unit.mT
    theta = constants.cosine_factor * alike.mean((0, 2))
    if constants.negative_threshold is not None:
        theta[theta < 0] = constants.negative_threshold
    theta = theta.clamp(max=0.9)
    kept = torch.where(alike > theta[None, :, None], attention, 0).mean(0)
    return kept / kept.sum(-1, keepdim=True)


@pytest.mark.parametrize("case", recorded("trident_affinity"), ids=str)
def test_recorded_affinities(case: Case):
    arrays, manifest = case.arrays, case.manifest
    attention = torch.from_numpy(arrays["attention"])
    values = torch.from_numpy(arrays["values"]).flatten(1, 2)
    found = affinity(lambda rows: attention[:, rows], values, Trident(**manifest["params"]))
    close(found.numpy(), arrays["affinity"], manifest["tolerance"])


@pytest.mark.parametrize("factor", [0.0, 1.2, 3.0, 50.0])
@pytest.mark.parametrize("negative", [None, 0.6])
def test_affinity_is_the_written_out_one(factor: float, negative: float | None, monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(3)
    attention = torch.randn(3, 40, 50, generator=generator).softmax(-1)[..., :40]
    values = torch.randn(3, 40, 5, generator=generator) + 0.3
    constants = Trident(cosine_factor=factor, negative_threshold=negative)
    expected = written_out(attention.double(), values.double(), constants)
    for block in (1, 3 * 40 * 7, 2**24):
        monkeypatch.setattr("segloop.attention.affinity.BLOCK", block)
        found = affinity(lambda rows: attention[:, rows], values, constants)
        assert (found - expected).abs().max() <= 1e3 * U[torch.float32]
        assert (found.sum(-1) - 1).abs().max() <= 1e2 * U[torch.float32]
    assert (found.diagonal() > 0).all()  # the cap


def test_an_affinity_of_nothing_keeps_each_patch():
    values = torch.zeros(2, 6, 4)
    values[:, :3] = torch.randn(2, 3, 4)
    found = affinity(lambda rows: torch.full((2, 6, 6), 1 / 6)[:, rows], values, Trident())
    assert found.isfinite().all() and torch.equal(found[3:], torch.eye(6)[3:])
    far = affinity(lambda rows: torch.zeros(2, 6, 6)[:, rows], values, Trident())
    assert torch.equal(far, torch.eye(6))
    assert CAP < 1


def test_constants_out_of_range_are_refused():
    for wrong in ({"cosine_factor": -1.0}, {"negative_threshold": 2.0}):
        with pytest.raises(OptionError):
            Trident(**wrong)


def test_halves_do_not_see_each_other():
    left, right = torch.rand(1, 6, 6).softmax(-1), torch.rand(1, 12, 12).softmax(-1)  # 3 x 2 and 3 x 4
    both = SideBySide((Shared(left), Shared(right)), (2, 4))
    matrix = torch.zeros(18, 18)
    places = torch.arange(18).view(3, 6)
    for part, own in ((left, places[:, :2]), (right, places[:, 2:])):
        matrix[own.flatten()[:, None], own.flatten()] = part[0]
    values = torch.randn(1, 2, 18, 5)
    assert torch.allclose(both(values), matrix @ values, atol=20 * U[torch.float32])
    assert torch.equal(both.rows(range(18))[0, 0], matrix)


# --- windows ---


def test_the_mean_similarity_needs_no_matrix():
    guide = torch.randn(3, 7, 4, 5, dtype=torch.float64)
    unit = F.normalize(guide.flatten(2), dim=1)
    expected = (unit.mT @ unit).mean((1, 2))
    assert (mean_similarity(guide) - expected).abs().max() <= 20 * U[torch.float32]


def test_windows_share_one_mean():
    guide = torch.randn(3, 7, 4, 5)
    guide[0] += 5  # patches much alike: most are below 1.2 times their own mean, none below the one that is shared
    mean = mean_similarity(guide).mean()
    unit = F.normalize(guide.double().flatten(2), dim=1)
    alike = unit.mT @ unit
    logits = 3.0 * (alike - 1.2 * alike.mean())
    expected = logits.masked_fill(logits < 0, -torch.inf).softmax(-1)
    found = proxy_weights(guide, 1.2, 3.0, mean)
    assert (found - expected).abs().max() <= 100 * U[torch.float32]
    assert not torch.allclose(found, proxy_weights(guide))
