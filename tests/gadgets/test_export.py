import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ImageArray

from onebreath.chain.gadget import parse_properties
from onebreath.errors import ConfigError, MethodError, ScanError
from onebreath.gadgets.export import PARTS, Export
from onebreath.gadgets.recon_space import ReconSpace
from onebreath.mrd.meta import read_warnings
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.validation import LARGEST_OFFSET
from tests.scans import header


def meta(**changes) -> ismrmrd.Meta:
    values = {
        "GADGETRON_DataRole": "Image",
        "DataRole": "Image",
        "encoding_FOV": ["48", "54", "8"],
        "recon_FOV": ["48", "54", "8"],
        "recon_matrix": ["32", "36", "1"],
    }
    return ismrmrd.Meta({**values, **changes})


def export(
    values: np.ndarray, entries: ismrmrd.Meta | None = None, scan=None, series=1, **properties
) -> list[ismrmrd.Image]:
    """Send images (frame, y, x) through the gadget."""
    array = values.astype(np.complex64).transpose(2, 1, 0)[:, :, None, None, :, None, None]
    headers = np.empty((len(values), 1, 1), dtype=object)
    for n in range(len(values)):
        head = ismrmrd.ImageHeader()
        head.image_series_index, head.image_index, head.position = series, n + 1, (1.0, 2.0, 3.0)
        head.field_of_view = (48.0, 54.0, 8.0)
        headers[n, 0, 0] = head
    text = (entries or meta()).serialize()
    gadget = Export(scan or header(36, 32), parse_properties(Export, properties))
    made = list(gadget.process([ImageArray(array, headers, [text] * len(values))]))
    return [message for message in made if isinstance(message, ismrmrd.Image)]


def pixels(image: ismrmrd.Image) -> np.ndarray:
    return image.data[0, 0]


@pytest.fixture
def values() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(2, 36, 32)) * 50 + 1j * rng.normal(size=(2, 36, 32)) * 50


def test_magnitude_in_float_is_the_default(values):
    images = export(values)
    assert len(images) == 2
    assert np.allclose(pixels(images[1]), np.abs(values[1]), rtol=1e-6)
    head = images[1].getHead()
    assert (head.image_type, head.data_type) == (ismrmrd.IMTYPE_MAGNITUDE, ismrmrd.DATATYPE_FLOAT)
    assert tuple(head.matrix_size) == (32, 36, 1)
    assert tuple(head.position) == (1.0, 2.0, 3.0)


def test_every_part_has_its_type_and_series(values):
    images = export(values[:1], output="magnitude, phase, real, imaginary, complex")
    kinds = [(image.getHead().image_type, image.getHead().image_series_index) for image in images]
    assert kinds == [(1, 1), (2, 3001), (3, 1001), (4, 2001), (5, 4001)]
    assert max(part.series_offset for part in PARTS.values()) == LARGEST_OFFSET
    assert np.allclose(pixels(images[1]), np.angle(values[0]), atol=1e-5)
    assert pixels(images[4]).dtype == np.complex64


def test_a_number_of_a_series_that_no_header_holds_is_refused(values):
    made = export(values, series=62535, output="phase, real")
    assert {image.image_series_index for image in made} == {65535, 63535}
    with pytest.raises(ScanError, match="its phase images would be 65536"):
        export(values, series=62536, output="phase")


@pytest.mark.parametrize("part", ["magnitude", "phase", "real"])
def test_integers_come_back_by_slope_and_intercept(values, part):
    (image,) = export(values[:1], output=part, data_type="uint16")
    assert image.data.dtype == np.uint16
    slope, intercept = float(image.meta["RescaleSlope"]), float(image.meta["RescaleIntercept"])
    expected = {"magnitude": np.abs, "phase": np.angle, "real": np.real}[part](values[0])
    assert np.abs(pixels(image) * slope + intercept - expected).max() <= slope * 0.51
    assert image.meta["Onebreath_export_clipped_pixels"] == "0"


@pytest.mark.parametrize("largest", [4095, 500, 65535])
def test_the_ends_of_a_turn_are_one_angle_and_nothing_is_clipped(largest):
    """Phases around +-pi come back as the angle that they are, within half a step."""
    angles = np.concatenate([[np.pi, 0.0], np.pi - np.geomspace(1e-6, 6, 36 * 32 - 2)]).reshape(36, 32)
    values = np.exp(1j * angles)
    (image,) = export(100 * values[None], output="phase", data_type="uint16", max_intensity=str(largest))
    slope, intercept = float(image.meta["RescaleSlope"]), float(image.meta["RescaleIntercept"])
    error = np.angle(np.exp(1j * (pixels(image) * slope + intercept)) / values)
    assert np.abs(error).max() <= slope * 0.51
    assert image.meta["Onebreath_export_clipped_pixels"] == "0"
    assert pixels(image)[0, 1] == pytest.approx((largest + 1) / 2, abs=0.5)  # as Gadgetron has it: zero in the middle


def test_clipped_pixels_are_counted(values):
    (image,) = export(values[:1], data_type="uint16", max_intensity="500")
    expected = int(np.count_nonzero(np.rint(np.abs(values[0]).astype(np.float32) * 10) > 500))
    assert expected > 0
    assert image.meta["Onebreath_export_clipped_pixels"] == str(expected)
    assert image.data.max() == 500


def test_a_series_has_one_window(values):
    first, second = export(np.stack([values[0], 5 * values[1]]))
    assert first.meta["WindowCenter"] == second.meta["WindowCenter"]
    assert first.meta["WindowWidth"] == second.meta["WindowWidth"]


@pytest.mark.parametrize("part", ["magnitude", "real", "phase"])
def test_fires_window_is_in_rescaled_units_and_gadgetrons_in_pixels(values, part):
    (image,) = export(20 * values[:1], output=part, data_type="uint16")
    slope, intercept = float(image.meta["RescaleSlope"]), float(image.meta["RescaleIntercept"])
    low, high = np.percentile(pixels(image), (0.5, 99.5))
    assert float(image.meta["GADGETRON_WindowCenter"]) == pytest.approx((low + high) / 2, rel=1e-5)
    centre, width = (float(image.meta[name]) for name in ("WindowCenter", "WindowWidth"))
    error = 1e-5 * width if part == "phase" else 0.5
    assert abs(centre - ((low + high) / 2 * slope + intercept)) <= error
    assert abs(width - (high - low) * slope) <= error


@pytest.mark.parametrize("peak", [1e-12, 1e-5, 3.0, 99.0, 1e3, 1e6])
def test_fires_window_shows_values_of_any_size(peak):
    """Whole numbers, as the standard has them, as long as nothing is lost by rounding."""
    ramp = np.linspace(0, peak, 36 * 32, dtype=np.float32).reshape(1, 36, 32)
    (image,) = export(ramp.astype(np.complex64))
    centre, width = image.meta["WindowCenter"], image.meta["WindowWidth"]
    low, high = np.percentile(pixels(image), (0.5, 99.5)) * float(image.meta["RescaleSlope"])
    assert float(centre) == pytest.approx((low + high) / 2, rel=0.01)
    assert float(width) == pytest.approx(high - low, rel=0.01)
    assert (centre + width).isdigit() == (peak > 100)


@pytest.mark.parametrize(("others", "pixel", "ends"), [(0.0, 2e-9, (0.0, 2e-9)), (5.0, 5.0, (2.5, 7.5))])
def test_a_window_has_two_ends_however_few_pixels_differ(others, pixel, ends):
    values = np.full((1, 36, 32), others)
    values[0, 3, 4] = pixel
    (image,) = export(values)
    centre, width = (float(image.meta[name]) for name in ("WindowCenter", "WindowWidth"))
    assert (centre - width / 2, centre + width / 2) == pytest.approx(ends, rel=1e-5)


def test_pixels_keep_to_the_bits_that_the_header_says_are_stored(values):
    scan = header(36, 32)
    scan.userParameters = ismrmrd.xsd.userParametersType(
        userParameterLong=[ismrmrd.xsd.userParameterLongType(name="BitsStored", value=12)]
    )
    strong = 5 * values[:1]
    (image,) = export(strong, scan=scan, data_type="uint16")
    assert image.data.max() == 4095
    assert image.meta["Onebreath_export_clipped_pixels"] == str(int((np.abs(strong) * 10 > 4095.5).sum()))


def test_all_but_magnitude_is_marked_to_be_read_as_it_is(values):
    roles = {image.getHead().image_type: image.meta["DataRole"] for image in export(values, output=",".join(PARTS))}
    assert roles.pop(ismrmrd.IMTYPE_MAGNITUDE) == "Image"
    assert list(roles.values()) == [["Image", "Quantitative"]] * 4


def test_maps_are_sent_as_magnitude_only(values):
    images = export(
        np.abs(values[:1]), meta(GADGETRON_DataRole="Gfactor"), output="magnitude,phase", data_type="uint16"
    )
    assert len(images) == 1
    assert images[0].meta["GADGETRON_ScaleRatio"] == "100"


@pytest.mark.parametrize(("value", "words"), [("Miller, Anna", "BitsStored is"), ("12.5", "no whole number")])
def test_bits_stored_that_are_no_number_are_named_without_quoting_names(values, value, words):
    scan = header(36, 32)
    entry = ismrmrd.xsd.userParameterLongType(name="BitsStored", value=value)
    scan.userParameters = ismrmrd.xsd.userParametersType(userParameterLong=[entry])
    with pytest.raises(ScanError, match=words) as raised:
        export(values, scan=scan, data_type="uint16")
    assert "Anna" not in str(raised.value)


@pytest.mark.parametrize(("encoded", "fov", "matrix"), [(36, 27, 18), (36, 40.5, 27), (35, 52.5, 35), (36, 54, 72)])
def test_the_field_of_view_is_cropped_and_interpolated_about_the_centre(encoded, fov, matrix):
    """A smooth bump at the centre stays at the centre, with its height."""
    gy, gx = np.meshgrid(np.arange(encoded) - encoded // 2, np.arange(32) - 16, indexing="ij")
    bump = np.exp(-(gy**2 + gx**2) / 18).astype(np.complex64)[None, None]
    entries = meta(
        encoding_FOV=["48", str(1.5 * encoded), "8"],
        recon_FOV=["48", str(fov), "8"],
        recon_matrix=["32", str(matrix), "1"],
    )
    moved = np.abs(ReconSpace.of_meta(entries, bump.shape).bring(bump))
    assert moved.shape == (1, 1, matrix, 32)
    assert np.unravel_index(moved.argmax(), moved.shape)[2:] == (matrix // 2, 16)
    assert moved.max() == pytest.approx(1, abs=0.01)


def test_interpolation_keeps_the_noise_in_snr_units():
    rng = np.random.default_rng(0)
    noise = ifft2c(fft2c(rng.normal(size=(1, 1, 36, 32)) + 1j * rng.normal(size=(1, 1, 36, 32)))).astype(np.complex64)
    fine = ReconSpace.of_meta(meta(recon_matrix=["64", "72", "1"]), noise.shape).bring(noise)
    assert fine.real.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"output": "magnitud"}, "unknown part 'magnitud'"),
        ({"output": "phase, magnitude,phase"}, "part 'phase' is named twice"),
        ({"output": "complex", "data_type": "uint16"}, "complex images cannot be uint16"),
        ({"data_type": "int16"}, "'data_type'"),
    ],
)
def test_wrong_properties(properties, words):
    with pytest.raises(ConfigError, match=words):
        parse_properties(Export, properties)


def test_other_messages_pass():
    assert list(Export(header(8, 8), parse_properties(Export, {})).process(["x"])) == ["x"]


NOT_WHITENED = {"Onebreath_prewhiten_whitened": "False"}


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e9])
def test_without_noise_the_series_is_scaled_to_its_own_brightest_pixel_and_says_so(values, scale):
    first, second = export(scale * np.stack([values[0], 3 * values[1]]), meta(**NOT_WHITENED), data_type="uint16")
    assert (second.data.max(), first.meta["RescaleSlope"]) == (65535, second.meta["RescaleSlope"])
    restored = pixels(first) * float(first.meta["RescaleSlope"])
    assert np.abs(restored - scale * np.abs(values[0])).max() <= float(first.meta["RescaleSlope"])
    assert "own brightest pixel" in read_warnings(first.meta)[0]


@pytest.mark.parametrize("data_type", ["uint16", "float32"])
def test_a_series_without_any_signal_is_an_error(values, data_type):
    with pytest.raises(ScanError, match="All pixels of series 1 are 0"):
        export(0 * values, data_type=data_type)


@pytest.mark.parametrize(("factor", "words"), [(np.nan, "NaN or infinite"), (1e7, "beyond the range")])
def test_broken_images_do_not_leave(values, factor, words):
    with pytest.raises(MethodError, match=words):
        export(factor * values[:1], data_type="uint16")


def test_images_that_wait_for_the_scale_of_their_series_are_sent_if_the_scan_fails(values):
    """Without known noise integers wait for the brightest pixel; what was made before an error must not be lost."""
    array = values.astype(np.complex64).transpose(2, 1, 0)[:, :, None, None, :, None, None]
    headers = np.empty((len(values), 1, 1), dtype=object)
    for n in range(len(values)):
        headers[n, 0, 0] = ismrmrd.ImageHeader(image_index=n + 1, image_series_index=1)
    entries = meta(Onebreath_prewhiten_whitened="False").serialize()

    def broken_off():
        yield ImageArray(array, headers, [entries] * len(values))
        raise ScanError("line 7 has NaN")

    gadget, sent = Export(header(36, 32), parse_properties(Export, {"data_type": "uint16"})), []
    with pytest.raises(ScanError, match="line 7 has NaN"):
        sent.extend(gadget.process(broken_off()))  # extends by what comes before the error
    assert sum(isinstance(message, ismrmrd.Image) for message in sent) == 2
