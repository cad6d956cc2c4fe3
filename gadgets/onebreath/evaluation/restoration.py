"""Evaluation of networks for magnitude images on held-out images, for mask types and accelerations trained or not.

As in the MR-IPT papers, k-space is simulated from magnitude images (one channel), so the numbers are not comparable
with those of multi-coil scans. PSNR, SSIM and NMSE are those of `metrics` with the convention ``strict``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from onebreath.evaluation.masks import StudyMask, study_mask
from onebreath.evaluation.metrics import measure
from onebreath.evaluation.statistics import mean_and_spread, spread
from onebreath.methods.learned.mask_type import choose
from onebreath.methods.learned.mr_ipt import consistent, restore
from onebreath.mri.coils import phase_factor
from onebreath.mri.sampling import describe
from onebreath.mri.sense import SenseOperator
from onebreath.networks.restoration.restoration import RestorationNetwork
from onebreath.terminal import steps
from onebreath.training.restoration import StoredImages, undersampled

METRICS = ("psnr", "ssim", "nmse")
ZERO_FILLED = "zero_filled"


@dataclass(frozen=True)
class Study:
    """Settings of a study.

    Attributes
    ----------
    types, accelerations
        Masks; each pair is one case.
    images
        Largest number of images.
    seed
        Seed of masks, phase and noise; all networks get the same k-space.
    phase, noise
        As in `undersampled`.
    data_consistency
        Whether the networks' images are also measured after data consistency.
    interpolated_prompts
        Whether prompts of untrained accelerations are interpolated.
    """

    types: tuple[StudyMask, ...]
    accelerations: tuple[float, ...]
    images: int = 20
    seed: int = 0
    phase: bool = False
    noise: float = 0.0
    data_consistency: bool = True
    interpolated_prompts: bool = False


@dataclass(frozen=True)
class Score:
    """Mean, standard deviation and single values of each metric over the images of one case."""

    method: str
    mask_type: str
    acceleration: float
    mean: dict[str, float]
    std: dict[str, float]
    n: int
    values: dict[str, list[float]]


def study_images(
    networks: Mapping[str, RestorationNetwork], stored: Sequence[StoredImages], study: Study
) -> list[Score]:
    """Scores of zero-filled images and of all networks on the same k-space.

    Parameters
    ----------
    networks
        Networks by name; results after data consistency are named ``NAME+dc``.
    stored
        Held-out images, of which an even selection is used.
    study
        Settings of the study.
    """
    images = [(one, index) for one in stored for index in range(one.count)]
    chosen = np.linspace(0, len(images) - 1, min(study.images, len(images))).round().astype(int)
    targets = [images[n][0].read(images[n][1]) for n in chosen]
    scores = []
    cases = list(itertools.product(study.types, study.accelerations))
    pictures = steps(itertools.product(range(len(cases)), range(len(targets))), "comparing", len(cases) * len(targets))
    for case, (kind, acceleration) in enumerate(cases):
        found: dict[str, list[dict[str, float]]] = {}
        for _, number in itertools.islice(pictures, len(targets)):
            target = targets[number]
            rng = np.random.default_rng([study.seed, case, number])
            mask = study_mask(kind, target.shape, acceleration, rng)
            kspace = undersampled(target, mask, rng, study.phase, study.noise)
            for name, image in _restored(networks, kspace, mask, study).items():
                values = measure(target[None], image, "strict")
                found.setdefault(name, []).append({metric: float(values[metric][0]) for metric in METRICS})
        scores += [_score(name, kind, acceleration, values) for name, values in found.items()]
    return scores


def _restored(
    networks: Mapping[str, RestorationNetwork], kspace: np.ndarray, mask: np.ndarray, study: Study
) -> dict[str, np.ndarray]:
    """Magnitudes (1, y, x) by method."""
    operator = SenseOperator(torch.ones(1, 1, *kspace.shape, dtype=torch.complex64), torch.from_numpy(mask[None]))
    combined = operator.adjoint(torch.from_numpy(kspace)[None, None])
    images = {ZERO_FILLED: combined.abs().numpy()}
    for name, network in networks.items():
        choice = choose(describe(mask[None]), mask[None], network.levels, network.types, study.interpolated_prompts)
        with torch.inference_mode():
            made = restore(network, combined.abs(), choice)
            images[name] = made.numpy()
            if study.data_consistency:
                full = consistent(made * phase_factor(combined), combined, operator, "replace", 0.0)
                images[f"{name}+dc"] = full.abs().numpy()
    return images


def _score(name: str, kind: str, acceleration: float, values: list[dict[str, float]]) -> Score:
    single = {metric: [value[metric] for value in values] for metric in METRICS}
    found = {metric: spread(column) for metric, column in single.items()}
    mean = {metric: one.mean for metric, one in found.items()}
    std = {metric: one.std for metric, one in found.items()}
    return Score(name, kind, acceleration, mean, std, len(values), single)


def table(scores: Sequence[Score], metric: str) -> str:
    """One metric as a Markdown table: a row per method and mask type, a column per acceleration."""
    ratios = list(dict.fromkeys(one.acceleration for one in scores))
    cells = {(one.mask_type, one.method, one.acceleration): one for one in scores}
    lines = [f"| mask | method | {' | '.join(f'R={ratio:g}' for ratio in ratios)} |", "|---" * (len(ratios) + 2) + "|"]
    for kind, method in dict.fromkeys((one.mask_type, one.method) for one in scores):
        found = [cells[kind, method, ratio] for ratio in ratios]
        digits = 2 if metric == "psnr" else 4
        values = " | ".join(mean_and_spread(one.mean[metric], one.std[metric], one.n, digits) for one in found)
        lines.append(f"| {kind} | {method} | {values} |")
    return "\n".join(lines)


def by_image(scores: Sequence[Score], method: str, metric: str) -> np.ndarray:
    """Mean over all cases of one metric of a method, for each image."""
    return np.mean([one.values[metric] for one in scores if one.method == method], axis=0)
