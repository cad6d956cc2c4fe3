"""A stored noise covariance: applied to another scan, its channels matched, bad files refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onebreath.errors import ConfigError, ScanError
from onebreath.storage.noise import StoredCovariance
from tests.helpers import complex_normal
from tests.raw import line, run, scan_header


class TestStoredCovariance:
    labels = ("left", "right", "top")

    def scan(
        self, rng: np.random.Generator, order: tuple[int, ...] = (0, 1, 2), labels: Any = None
    ) -> tuple[Any, list]:
        names = labels or tuple(self.labels[i] for i in order)
        data = complex_normal(rng, (3, 16))
        return scan_header(labels=names), [line(data[list(order)], sample_time_us=5.0)]

    def store(self, path: Path) -> np.ndarray:
        rng = np.random.default_rng(5)
        samples = complex_normal(rng, (3, 3)) @ complex_normal(rng, (3, 2000))
        _, notes = run(
            "prewhiten", scan_header(labels=self.labels), [line(samples, 0, 19)], store_noise_covariance=path
        )
        assert notes[0]["noise"] == "stored for later scans"
        return samples

    def test_gives_the_same_as_noise_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "noise.npz"
        samples = self.store(path)
        header, lines = self.scan(np.random.default_rng(6))
        stored, notes = run("prewhiten", header, lines, noise_covariance=path)
        direct, _ = run("prewhiten", header, [line(samples, 0, 19), *lines])
        assert np.array_equal(stored[0].data, direct[0].data)
        assert (notes[0]["noise"], notes[0]["channel_order"]) == ("stored", "as stored")

    def test_channels_in_another_order_are_matched_by_their_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "noise.npz"
        self.store(path)
        whitened = {}
        for order in ((0, 1, 2), (2, 0, 1)):
            header, lines = self.scan(np.random.default_rng(6), order)
            (made,), notes = run("prewhiten", header, lines, noise_covariance=path)
            whitened[order] = made.data
        assert notes[0]["channel_order"] == "permuted by coil label"
        # The Cholesky factor depends on the order, the energy of every sample does not.
        energy = [np.linalg.norm(data, axis=0) for data in whitened.values()]
        assert energy[0] == pytest.approx(energy[1], rel=1e-4)

    def test_other_coils_are_an_error_that_names_them(self, tmp_path: Path) -> None:
        path = tmp_path / "noise.npz"
        self.store(path)
        header, lines = self.scan(np.random.default_rng(6), labels=("left", "right", "spine"))
        with pytest.raises(ScanError, match=r"spine are not in it.*top are not in the scan"):
            run("prewhiten", header, lines, noise_covariance=path)

    def test_another_number_of_channels_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "noise.npz"
        self.store(path)
        with pytest.raises(ScanError, match=r"3 channels \(left, right, top\), the scan 2"):
            run("prewhiten", scan_header(), [line(np.ones((2, 16)))], noise_covariance=path)

    def test_without_labels_the_order_is_trusted_and_the_note_says_so(self, tmp_path: Path) -> None:
        path = tmp_path / "noise.npz"
        StoredCovariance(np.eye(2, dtype=np.complex64), 2.0).save(str(path))
        _, notes = run("prewhiten", scan_header(), [line(np.ones((2, 16)))], noise_covariance=path)
        assert notes[0]["channel_order"] == "not checked, coil labels missing"

    @pytest.mark.parametrize(
        "content", [None, b"junk", {"matrix": np.eye(2)}, {"matrix": np.ones((2, 3)), "dwell": 1, "labels": []}]
    )
    def test_a_bad_file_is_an_error_before_any_data(self, tmp_path: Path, content: Any) -> None:
        path = tmp_path / "noise.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.savez(path, **content)
        with pytest.raises(ConfigError, match=r"noise\.npz"):
            run("prewhiten", scan_header(), [], noise_covariance=path)
