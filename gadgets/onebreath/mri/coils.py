"""Coil compression, coil maps from images, and coil combination.

Phase convention of every map in the package: the principal coil (the first principal component of the calibration
data over its channels) is real and positive, ``sum_c P_c S_c >= 0`` with ``P = pca_matrix(calibration, 1)``; the phase
of the object is then left in the image. Of a principal component itself the largest entry is real and positive.
"""

import math

from array_api_compat import array_namespace, device

from onebreath.budget import CHANNELS, claim
from onebreath.cancellation import checkpoint
from onebreath.mri import Array
from onebreath.mri.fourier import fftc, ifftc, resize

BLOCK = 1 << 16  # matrix entries (pixels x coil x coil) processed at once: few enough for the cache


def principal_components(kspace: Array) -> tuple[Array, Array]:
    """Principal components over the channels.

    Parameters
    ----------
    kspace
        Whitened data ``(coil, ...)``; any region, such as the calibration lines.

    Returns
    -------
    matrix
        ``(coil, coil)`` unitary, rows sorted by falling energy; virtual channels ``= matrix @ channels``.
    energy
        ``(coil,)`` energy of each virtual channel in `kspace`, real.
    """
    xp = array_namespace(kspace)
    data = xp.reshape(kspace, (kspace.shape[0], -1))
    energy, vectors = xp.linalg.eigh(data @ xp.conj(data.T))
    return _largest_entry_real(xp.flip(xp.conj(vectors.T), axis=0)), xp.flip(energy, axis=0)


def pca_matrix(kspace: Array, n: int) -> Array:
    """Compression matrix ``(n, coil)``: the `n` strongest principal components of ``(coil, ...)`` data.

    M. Buehrer et al., "Array compression for MRI with large coil arrays", Magn Reson Med 57:1131 (2007).
    """
    checkpoint()  # once for each of many
    _check_channels(n, kspace.shape[0])
    return principal_components(kspace)[0][:n]


def gcc_matrices(acs: Array, n: int, width: int | None = None) -> Array:
    """Geometric coil compression: one aligned matrix per readout position, ``(x, n, coil)``.

    T. Zhang et al., "Coil compression for accelerated imaging with Cartesian sampling", Magn Reson Med 69:571 (2013).

    Parameters
    ----------
    acs
        Calibration k-space ``(coil, y, x)``, centred along x.
    n
        Channels to keep.
    width
        Number of readout positions (the x of the data to compress); that of `acs` if not given.

    Notes
    -----
    Neighbouring matrices span nearly the same space, but each basis is only defined up to a unitary matrix; from x = 0
    upward each is aligned with its predecessor by the polar factor of ``A(x-1) A(x)^H`` (their eq. 8).
    """
    xp = array_namespace(acs)
    _check_channels(n, acs.shape[0])
    hybrid = ifftc(resize(acs, (width or acs.shape[-1],)), -1)
    claim(8 * hybrid.shape[-1] * n * acs.shape[0], "the matrices of the compression", advice=CHANNELS)
    matrices = [pca_matrix(hybrid[..., 0], n)]
    for x in range(1, hybrid.shape[-1]):
        matrix = pca_matrix(hybrid[..., x], n)
        left, _, right = xp.linalg.svd(matrices[-1] @ xp.conj(matrix.T), full_matrices=False)
        matrices.append(left @ right @ matrix)
    return xp.stack(matrices)


def apply_channel_matrix(matrix: Array, kspace: Array, axis: int) -> Array:
    """Replace the channels along `axis` by ``matrix @ channels``.

    Parameters
    ----------
    matrix
        ``(n, coil)``, or ``(x, n, coil)`` with one matrix per readout position (`gcc_matrices`); then the last axis
        of `kspace` must be the readout, in k-space.
    kspace
        Data with the channels along `axis`.
    """
    xp = array_namespace(kspace)
    if matrix.shape[-1] != kspace.shape[axis]:
        raise ValueError(f"matrix of shape {tuple(matrix.shape)} does not fit axis {axis} of {tuple(kspace.shape)}")
    if matrix.ndim == 2:
        return xp.moveaxis(xp.tensordot(matrix, kspace, axes=((1,), (axis % kspace.ndim,))), 0, axis)
    if matrix.shape[0] != kspace.shape[-1]:
        raise ValueError(f"matrix of shape {tuple(matrix.shape)} has another readout than {tuple(kspace.shape)}")
    hybrid = xp.moveaxis(ifftc(kspace, -1), (axis, -1), (-1, 0))
    flat = xp.reshape(hybrid, (hybrid.shape[0], -1, hybrid.shape[-1])) @ xp.moveaxis(matrix, -1, -2)
    return fftc(xp.moveaxis(xp.reshape(flat, (*hybrid.shape[:-1], -1)), (-1, 0), (axis, -1)), -1)


def rss(x: Array, axis: int) -> Array:
    """Root of the sum of squares along the coil axis, real."""
    xp = array_namespace(x)
    return xp.sqrt(xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2, axis=axis))


def combine(images: Array, maps: Array) -> Array:
    """Coil combination ``sum_c conj(S_c) x_c`` of ``(..., coil, y, x)`` with maps ``(coil, y, x)`` to ``(..., y, x)``.

    With normalised maps the noise stays that of one channel (Roemer, Magn Reson Med 16:192 (1990)).
    """
    xp = array_namespace(images)
    return xp.sum(xp.conj(maps) * images, axis=-3)


def walsh_maps(images: Array, window: int = 5) -> Array:
    """Coil maps as the dominant eigenvector of the local coil covariance.

    D. O. Walsh et al., "Adaptive reconstruction of phased array MR imagery", Magn Reson Med 43:682 (2000).

    Parameters
    ----------
    images
        Fully sampled coil images ``(coil, y, x)``.
    window
        Side of the square in pixels over which the covariance is averaged, odd.

    Returns
    -------
    Array
        ``(coil, y, x)``, sum over coils ``|S|^2 = 1``, with the phase convention of this module.
    """
    xp = array_namespace(images)
    claim(8 * len(images) * math.prod(images.shape), "the covariances of the channels", advice=CHANNELS)
    local = [_box_sum(row * xp.conj(images), window) for row in images]
    matrices = xp.permute_dims(xp.stack(local), (2, 3, 0, 1))
    vectors, _ = dominant_eigenvectors(matrices, 1)
    return with_reference_phase(xp.permute_dims(vectors[..., 0], (2, 0, 1)), images)


def inati_maps(images: Array, window: int = 5, iterations: int = 10, tolerance: float = 1e-3) -> Array:
    """Coil maps by alternating between the combined image and the smoothed coil images it explains.

    S. Inati et al., "A fast optimal method for coil sensitivity estimation and adaptive coil combination for complex
    images", Proc ISMRM 2014, 4407.

    Parameters
    ----------
    images, window
        As for `walsh_maps`, which says what is returned, too; `window` smooths.
    iterations, tolerance
        Stop after this many iterations, or when the combined image changes by less than this fraction of its norm.
    """
    xp = array_namespace(images)
    combined = combine(images, xp.conj(pca_matrix(images, 1)[0])[:, None, None])
    for _ in range(iterations):
        maps = _normalised(_box_sum(xp.conj(combined) * images, window))
        previous, combined = combined, combine(images, maps)
        # The product fixes the phase of map and image only together: give it to the image, or it drifts.
        mean_coils = xp.sum(maps * combined, axis=(1, 2))
        turn = phase_factor(combine(maps, mean_coils[:, None, None]))
        maps, combined = maps * xp.conj(turn), combined * turn
        change = xp.linalg.vector_norm(combined - previous) / xp.linalg.vector_norm(combined)
        if float(change) < tolerance:
            break
    return with_reference_phase(maps, images)


def with_reference_phase(maps: Array, calibration: Array) -> Array:
    """Maps ``(..., coil, y, x)`` in the phase convention of this module.

    The principal component of `calibration` ``(coil, ...)`` is the reference coil.
    """
    xp = array_namespace(maps)
    principal = pca_matrix(calibration, 1)[0]
    return maps * xp.conj(phase_factor(xp.sum(principal[:, None, None] * maps, axis=-3)))[..., None, :, :]


def dominant_eigenvectors(matrices: Array, n: int) -> tuple[Array, Array]:
    """The `n` strongest eigenpairs of many small positive semi-definite Hermitian matrices at once.

    Parameters
    ----------
    matrices
        ``(..., coil, coil)``.
    n
        Eigenpairs wanted.

    Returns
    -------
    vectors
        ``(..., coil, n)``, orthonormal columns, strongest first.
    values
        ``(..., n)``, real.

    Notes
    -----
    Orthogonal iteration on a power of the matrices, which repeated squaring computes cheaply; the iterations equal 512
    (one vector) or 64 (several) of plain orthogonal iteration. Eigenvectors whose eigenvalues are too close for that
    come out mixed. The power is low for several vectors, as in single precision a high one loses all but the first.
    """
    xp = array_namespace(matrices)
    *leading, coils, _ = matrices.shape
    flat = xp.reshape(matrices, (-1, coils, coils))
    pixels = max(1, BLOCK // coils**2)
    blocks = [_dominant(flat[first : first + pixels], n) for first in range(0, flat.shape[0], pixels)]
    vectors, values = (xp.concat(parts, axis=0) for parts in zip(*blocks, strict=True))
    return xp.reshape(vectors, (*leading, coils, n)), xp.reshape(values, (*leading, n))


def _dominant(matrices: Array, n: int) -> tuple[Array, Array]:
    """`dominant_eigenvectors` of one block of matrices."""
    checkpoint()
    xp = array_namespace(matrices)
    squarings, rounds = (6, 8) if n == 1 else (2, 16)
    power = matrices * _inverse_trace(matrices)
    for _ in range(squarings):
        power = power @ power
        power *= _inverse_trace(power)
    vectors = power @ _start(matrices, n)
    for _ in range(rounds):
        vectors = power @ _orthonormal(vectors)
    vectors = _orthonormal(vectors)
    projected = xp.conj(xp.matrix_transpose(vectors)) @ (matrices @ vectors)
    if n == 1:
        return vectors, xp.real(projected[..., 0])
    values, rotation = xp.linalg.eigh(projected)
    return vectors @ xp.flip(rotation, axis=-1), xp.flip(values, axis=-1)


def _inverse_trace(matrices: Array) -> Array:
    """Factors that take the traces to 1, so that high powers stay in range; zero stays zero."""
    xp = array_namespace(matrices)
    return (1 / _positive(xp.sum(xp.real(xp.linalg.diagonal(matrices)), axis=-1)))[..., None, None]


def _start(matrices: Array, n: int) -> Array:
    """Start vectors ``(coil, n)`` with quadratic phases, which no smooth coil pattern is orthogonal to."""
    xp = array_namespace(matrices)
    real = xp.real(matrices[..., :1, :1]).dtype
    coil = xp.arange(1, matrices.shape[-1] + 1, dtype=real, device=device(matrices))[:, None]
    vector = xp.arange(1, n + 1, dtype=real, device=device(matrices))
    return xp.exp(1j * xp.astype(coil**2 * vector * 0.618, matrices.dtype))


def _orthonormal(vectors: Array) -> Array:
    """Gram-Schmidt over the columns of ``(..., coil, n)``; a zero column stays zero."""
    xp = array_namespace(vectors)
    columns: list[Array] = []
    for i in range(vectors.shape[-1]):
        column = vectors[..., i : i + 1]
        for other in columns * 2:  # twice: once loses orthogonality for nearly parallel columns
            column = column - other * xp.sum(xp.conj(other) * column, axis=-2, keepdims=True)
        columns.append(column * (1 / _positive(xp.linalg.vector_norm(column, axis=-2, keepdims=True))))  # no slow `/`
    return xp.concat(columns, axis=-1)


def _normalised(maps: Array) -> Array:
    """Maps with unit sum of squares over the coil axis; zero where all coils are zero."""
    return maps / _positive(rss(maps, -3))[..., None, :, :]


def phase_factor(x: Array) -> Array:
    """``x / |x|`` of a complex array, and 1 where it is 0."""
    xp = array_namespace(x)
    size = xp.abs(x)
    return xp.where(size > 0, x / _positive(size), xp.ones_like(x))


def _positive(x: Array) -> Array:
    """`x` with zeros replaced by 1, safe to divide by."""
    xp = array_namespace(x)
    return xp.where(x > 0, x, xp.ones_like(x))


def _largest_entry_real(rows: Array) -> Array:
    """Each row rotated so that its largest entry is real and positive, which every linear algebra library agrees on."""
    xp = array_namespace(rows)
    where = xp.argmax(xp.abs(rows), axis=-1)
    largest = xp.stack([row[i] for row, i in zip(rows, where, strict=True)])
    return rows * xp.conj(phase_factor(largest))[:, None]


def _box_sum(x: Array, window: int) -> Array:
    """Sum over a square of side `window` about each pixel of the last two axes, with zeros beyond the edge."""
    if window % 2 == 0:
        raise ValueError(f"window must be odd, got {window}")
    height, width = x.shape[-2:]
    padded = resize(x, (height + window - 1, width + window - 1))
    rows = sum(padded[..., i : i + height, :] for i in range(window))
    return sum(rows[..., i : i + width] for i in range(window))


def _check_channels(n: int, coils: int) -> None:
    if not 1 <= n <= coils:
        raise ValueError(f"cannot keep {n} channels of {coils}")
