"""Parts of A-LIKNet against the released layers, and the properties each must have."""

import itertools

import pytest
import torch
from torch.func import functional_call

from onebreath.errors import MethodError
from onebreath.networks.a_liknet.attention import Attention
from onebreath.networks.a_liknet.denoiser import Denoiser
from onebreath.networks.a_liknet.iteration import Measurement, Sharing
from onebreath.networks.a_liknet.kspace_branch import KSpaceNetwork
from onebreath.networks.a_liknet.low_rank import LowRank, block_size, chunk_length, cut_patches, join_patches, shrink
from onebreath.networks.a_liknet.windows import cut_windows, join_windows, window_starts
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.shared.complex_layers import ComplexConv, ComplexUpsample, ModReLU, max_magnitude_pool
from tests.networks.a_liknet_golden import Golden


@pytest.fixture(scope="module")
def golden(shared):
    return Golden(shared / "golden", "aliknet_pieces")


def random(*shape, dtype=torch.complex128, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def golden_scan(golden):
    kspace, mask, maps = (golden.series(f"in/{name}") for name in ("sub_ksp", "mask", "smaps"))
    return Measurement(kspace, mask != 0, maps, None, SampledSeries(kspace, mask, maps))


class TestReleasedLayers:
    @pytest.mark.parametrize(("name", "count", "axis"), [("se_time", 14, 1), ("se_coil", 15, 4)])
    def test_attention(self, golden, deviation, name, count, axis):
        attention = Attention(count)
        attention.load_state_dict({key[1:]: value for key, value in golden.attention(name, "").items()})
        found = attention(torch.from_numpy(golden.arrays[f"in/{name}"]).movedim(axis, 1)).movedim(1, axis)
        assert deviation(found.detach(), golden.arrays[f"out/{name}"]) <= 1e-5

    @pytest.mark.parametrize("name", ["D_16x17", "D_18x23", "D_24x28"])
    def test_low_rank(self, golden, deviation, name):
        low_rank = LowRank(25).requires_grad_(False)
        low_rank.coefficients.copy_(torch.from_numpy(golden.arrays["weights/D.thres_coef"]))
        image = golden.series(f"in/{name}")
        assert deviation(low_rank(image), golden.series(f"out/{name}")) <= 1e-4
        sizes = [block_size(size)[0] for size in image.shape[-2:]]
        assert sizes == golden.arrays[f"cfg/{name}_patch"].tolist()

    def test_patches(self, golden, deviation):
        patches = cut_patches(golden.series("in/D_16x17"), 5)[0]
        assert deviation(patches, golden.arrays["out/D_16x17_patches_in"]) == 0
        thresholds = torch.from_numpy(golden.arrays["weights/D.thres_coef"])
        found = shrink(patches[None].flatten(3), thresholds).view(patches.shape)
        assert deviation(found, golden.arrays["out/D_16x17_patches_out"]) <= 1e-4

    @pytest.mark.parametrize("masked", [False, True])
    def test_sharing(self, golden, deviation, masked):
        sharing, scan = Sharing(masked).requires_grad_(False), golden_scan(golden)
        sharing.kspace_weight.copy_(golden.number("cfg/isl_tau_ksp"))
        sharing.image_weight.copy_(golden.number("cfg/isl_tau_img"))
        image, kspace, name = golden.series("in/img"), golden.series("in/ksp"), "masked" if masked else "unmasked"
        assert deviation(sharing.to_image(image, kspace, scan), golden.series(f"out/isl_img_{name}")) <= 1e-5
        assert deviation(sharing.to_kspace(image, kspace, scan), golden.series(f"out/isl_ksp_{name}")) <= 1e-5

    def test_consistency(self, golden, deviation):
        scan, image, kspace = golden_scan(golden), golden.series("in/img"), golden.series("in/ksp")
        step = image - golden.number("cfg/img_dc_weight") * scan.series.gradient(image)
        assert deviation(step, golden.series("out/img_dc")) <= 1e-5
        weight = golden.number("cfg/ksp_dc_weight")
        assert deviation(scan.blend(kspace, weight), golden.series("out/ksp_dc")) <= 1e-5

    def test_modrelu(self, golden, deviation):
        layer = ModReLU(6).requires_grad_(False)
        layer.bias.copy_(torch.from_numpy(golden.arrays["weights/modrelu.bias"]))
        found = layer(torch.from_numpy(golden.arrays["in/modrelu"]))
        assert deviation(found, golden.arrays["out/modrelu"]) <= 1e-5


class TestComplexLayers:
    def test_a_convolution_is_that_of_complex_numbers(self):
        layer = ComplexConv(3, 2, (5, 3), taps=3).double().requires_grad_(False)
        layer.bias.copy_(torch.arange(4.0))
        array = random(2, 4, 6, 7, 3)
        weight = torch.view_as_complex(layer.weight).movedim(1, 2)
        wanted = torch.nn.functional.conv3d(
            array.movedim(-1, 1), weight, torch.view_as_complex(layer.bias.view(-1, 2)), padding=(1, 2, 1)
        )
        torch.testing.assert_close(layer(array), wanted.movedim(1, -1))

    def test_a_convolution_turns_with_the_phase(self):
        layer, array, turn = ComplexConv(2, 3, (3, 3), bias=False).double(), random(1, 2, 5, 4, 2), 0.6 + 0.8j
        torch.testing.assert_close(layer(turn * array), turn * layer(array))

    @pytest.mark.parametrize("axis", [-1, -3])
    def test_modrelu_has_exact_gradients_on_both_sides_of_its_threshold(self, axis):
        layer = ModReLU(3, axis).double()
        with torch.no_grad():
            layer.bias.copy_(torch.tensor([-0.8, 0.0, 0.3]))
        array = random(2, 3, 3, 3).requires_grad_()
        shrunk = layer(array).detach()
        assert bool((shrunk == 0).any())
        torch.testing.assert_close(shrunk.angle()[shrunk != 0], array.detach().angle()[shrunk != 0])
        inputs = (array, layer.bias.detach().requires_grad_())
        assert torch.autograd.gradcheck(
            lambda z, bias: functional_call(layer, {"bias": bias}, z), inputs, check_forward_ad=True
        )

    @pytest.mark.parametrize("kernel", [1, 2])
    def test_upsampling_doubles_every_axis(self, kernel):
        layer, array = ComplexUpsample(3, 2, kernel).double(), random(1, 2, 3, 2, 3)
        found = layer(array)
        assert found.shape == (1, 4, 6, 4, 2)
        first = layer.activation(layer.values(array)[..., :2])
        torch.testing.assert_close(found[:, ::2, ::2, ::2], first)
        others = found.abs().sum(-1)
        others[:, ::2, ::2, ::2] = 1
        assert bool((others > 0).all()) == (kernel == 2)

    def test_pooling_keeps_the_largest_of_each_cell(self):
        array = random(1, 4, 6, 2, 3)
        found = max_magnitude_pool(array, (1, 2, 3))
        cells = array.unflatten(1, (2, 2)).unflatten(3, (3, 2)).unflatten(5, (1, 2)).movedim((2, 4, 6), (-3, -2, -1))
        cells = cells.flatten(-3)
        wanted = cells.gather(-1, cells.abs().argmax(-1, keepdim=True))[..., 0]
        torch.testing.assert_close(found, wanted)


class TestLowRank:
    @pytest.mark.parametrize(
        ("frames", "wanted"), [(1, 1), (3, 3), (7, 7), (8, 4), (10, 5), (12, 4), (13, 13), (25, 5)]
    )
    def test_frames_of_a_patch_divide_the_series(self, frames, wanted):
        assert chunk_length(frames) == wanted

    @pytest.mark.parametrize("shape", [(8, 8), (9, 17), (18, 23), (31, 10)])
    def test_patches_of_unchanged_values_give_the_image_back(self, shape):
        image = random(2, 6, *shape)
        torch.testing.assert_close(join_patches(cut_patches(image, 3), shape), image)

    def test_images_too_small_to_cut_are_refused(self):
        with pytest.raises(MethodError, match="kspace has size 7 along x, the low-rank branch needs 8 or more"):
            cut_patches(random(1, 4, 9, 7), 4)

    def test_a_matrix_of_rank_one_keeps_its_vectors(self):
        left, right = random(4), random(30, seed=1)
        matrix = torch.outer(left, right)
        coefficient = torch.tensor([-1.0], dtype=torch.float64)
        found = shrink(matrix[None, None], coefficient)[0, 0]
        largest = left.norm() * right.norm()
        threshold = torch.sigmoid(coefficient) * largest
        wanted = largest - threshold + threshold * torch.sigmoid(largest - threshold)
        torch.testing.assert_close(found, matrix * (wanted / largest))

    def test_singular_values_and_vectors_are_those_of_a_decomposition(self):
        matrix, coefficient = random(4, 50), torch.tensor([-1.5], dtype=torch.float64)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        threshold = torch.sigmoid(coefficient) * values[0]
        lowered = torch.relu(values - threshold) + threshold * torch.sigmoid(values - threshold)
        wanted = left @ torch.diag(lowered).to(matrix.dtype) @ right
        torch.testing.assert_close(shrink(matrix[None, None], coefficient)[0, 0], wanted)

    def test_gradient(self):
        patches = random(1, 2, 3, 5).requires_grad_()
        coefficients = torch.tensor([-2.0, 0.3], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(shrink, (patches, coefficients))

    def test_gradient_is_exact_where_singular_values_are_equal(self):
        """Directions that keep the values of an equal pair equal or split them: both have a derivative."""
        basis, _ = torch.linalg.qr(random(12, 3))
        matrix = (torch.diag(torch.tensor([3.0, 1.0, 1.0], dtype=torch.complex128)) @ basis.mH)[None, None]
        matrix.requires_grad_()
        coefficients = torch.tensor([-2.0], dtype=torch.float64)
        weights = random(1, 1, 3, 12, seed=5)
        shrink(matrix, coefficients).mul(weights).sum().real.backward()
        step = 1e-5
        for seed in (6, 7):
            direction = random(1, 1, 3, 12, seed=seed)
            with torch.no_grad():
                ends = [(shrink(matrix + sign * step * direction, coefficients) * weights).sum() for sign in (1, -1)]
            slope = (ends[0] - ends[1]).real / (2 * step)
            torch.testing.assert_close((matrix.grad.conj() * direction).sum().real, slope, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize("frames", [1, 5])
    def test_gradients_of_zero_and_still_images_are_finite(self, frames):
        low_rank = LowRank(5)
        image = torch.zeros(1, 5, 12, 10, dtype=torch.complex64)
        image[:, :frames, 4:] = 1 if frames == 5 else 0
        image.requires_grad_()
        low_rank(image).abs().square().sum().backward()
        assert bool(image.grad.isfinite().all())
        assert bool(low_rank.coefficients.grad.isfinite().all())

    def test_singular_values_that_do_not_converge_are_an_error(self):
        patches = random(1, 3, 4, 9)
        patches[0, 1] = torch.nan
        with pytest.raises(MethodError, match="do not converge; 1 of 3 patches hold values that are not finite"):
            shrink(patches, torch.zeros(3))


class TestBranches:
    def test_attention_weights_lie_between_0_and_1_and_scale_frames(self):
        attention, array = Attention(6).double(), random(2, 6, 3, 4)
        found = attention(array)
        for part in ("real", "imag"):
            ratio = getattr(found, part) / getattr(array, part)
            assert bool(((ratio > 0) & (ratio < 1)).all())
            torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))

    @pytest.mark.parametrize("frames", [3, 5, 8])
    @pytest.mark.parametrize("kernel", [1, 2])
    def test_the_denoiser_takes_any_size(self, frames, kernel):
        image = random(2, frames, 9, 14, dtype=torch.complex64)
        assert Denoiser(frames, channels=2, upsample_kernel=kernel)(image).shape == image.shape

    def test_without_attention_the_denoiser_does_not_know_the_direction_of_time(self):
        denoiser = Denoiser(8, channels=2, attention=False, upsample_kernel=2).double()
        image = random(1, 8, 8, 12)
        forward = denoiser(image)
        with torch.no_grad():
            for name, weight in denoiser.named_parameters():
                if name.endswith("conv.weight") and weight.shape[1] == 3:
                    weight.copy_(weight.flip(1))
                if "up." in name and name.endswith("values.weight"):
                    weight.copy_(weight.unflatten(0, (2, 2, 2, -1)).flip(0).flatten(0, 3))
        torch.testing.assert_close(denoiser(image.flip(1)), forward.flip(1))

    def test_coils_matter_by_their_neighbours(self):
        network = KSpaceNetwork(2, 5, (3, 2)).double()
        kspace = random(1, 2, 5, 6, 7)
        assert not torch.allclose(network(kspace[:, :, [1, 0, 2, 3, 4]]), network(kspace)[:, :, [1, 0, 2, 3, 4]])

    def test_a_residual_network_starts_from_its_input(self):
        network, kspace = KSpaceNetwork(2, 4, (3, 2), residual=True).double(), random(1, 2, 4, 6, 7)
        torch.testing.assert_close(network(kspace), kspace)

    def test_sharing_with_weights_of_one_changes_nothing(self, scan):
        kspace, mask, maps = scan(dtype=torch.complex128)
        given = Measurement(kspace, mask, maps, None, SampledSeries(kspace, mask, maps))
        sharing, image = Sharing().double().requires_grad_(False), random(1, 3, 10, 8)
        sharing.kspace_weight.fill_(1), sharing.image_weight.fill_(1)
        assert torch.equal(sharing.to_image(image, kspace, given), image)
        assert torch.equal(sharing.to_kspace(image, kspace, given), kspace)


class TestWindows:
    @pytest.mark.parametrize(
        ("size", "length", "overlap", "count"),
        [(8, 8, 0, 1), (9, 8, 0, 2), (20, 8, 0, 3), (24, 8, 0, 3), (25, 4, 0, 7), (128, 40, 10, 4), (41, 40, 10, 2)],
    )
    def test_windows_hold_everything_and_joining_undoes_cutting(self, size, length, overlap, count):
        starts = window_starts(size, length, overlap)
        assert starts[0] == 0 and starts[-1] == size - length
        assert len(starts) == count
        assert all(second - first <= length - overlap for first, second in itertools.pairwise(starts))
        for axis, shape in ((1, (2, size, 3)), (-1, (2, 3, size))):
            series = random(*shape)
            windows = cut_windows(series, axis, starts, length)
            assert windows.shape[0] == 2 * count
            torch.testing.assert_close(join_windows(windows, axis, starts, overlap), series)

    def test_what_all_frames_share_is_repeated(self):
        maps = random(2, 1, 3, 4)
        assert torch.equal(cut_windows(maps, 1, [0, 2, 5], 4), maps.repeat_interleave(3, dim=0))

    def test_overlapping_windows_fade_into_each_other(self):
        windows = torch.stack([torch.zeros(6), torch.ones(6)])
        joined = join_windows(windows, -1, [0, 4], overlap=2)[0]
        torch.testing.assert_close(joined, torch.tensor([0.0] * 4 + [1 / 3, 2 / 3] + [1.0] * 4))
