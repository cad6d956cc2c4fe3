"""A network whose learned parts are recorded on the GPU once per size and then replayed (CUDA graphs).

A cascade of a recurrent network is some hundred small kernels; a GPU computes them faster than Python can ask for them
one by one. A recording asks for all of them at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from onebreath.networks.shared.refinement import Beside
from onebreath.networks.shared.unrolled import Features, UnrolledNetwork

Step = Callable[..., Sequence[Tensor]]
Replay = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Record = Callable[[Step, Sequence[Tensor]], Replay]

_WARM_UPS = 2
"""Runs before the recording, in which libraries choose algorithms and set up workspaces."""


def record_on_gpu(step: Step, inputs: Sequence[Tensor]) -> Replay:
    """Record a step on the current GPU; returns a function that replays it on inputs of the same layout.

    Only the calling thread is kept from what a recording forbids; others may use the GPU meanwhile.

    Parameters
    ----------
    step
        Tensors in, tensors out, without a look at numbers on the way.
    inputs
        Of the first run.
    """
    held = [torch.empty_like(one).copy_(one) for one in inputs]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            step(*held)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = step(*held)
    done = torch.cuda.Event()

    def replay(given: Sequence[Tensor]) -> Sequence[Tensor]:
        # Whoever replayed last may have done so in another stream, and still be at work there.
        torch.cuda.current_stream().wait_event(done)
        for target, source in zip(held, given, strict=True):
            target.copy_(source)
        graph.replay()
        copies = [one.clone() for one in made]
        done.record()
        return copies

    return replay


class Recorded(UnrolledNetwork):
    """Another network with the same weights, its refinements recorded; for inference.

    Recordings are kept for one size of series: those of the size before are dropped, as their memory is as large as
    that of a reconstruction. Several threads may reconstruct at once; they take turns at each cascade.

    Parameters
    ----------
    network
        The other network, on a GPU; it is not changed.
    record
        Records a step, see `record_on_gpu`.
    """

    def __init__(self, network: UnrolledNetwork, record: Record = record_on_gpu) -> None:
        super().__init__(len(network.consistency), remembered=network.remembered)
        self.start, self.inputs = network.start, network.inputs
        self.network, self._record = network, record
        self.consistency = network.consistency
        self._compute_dtype = network._compute_dtype
        self._size: Hashable = None
        self._replays: dict[Hashable, Replay] = {}
        self._turn = threading.Lock()

    def recall(self, index: int, history: Sequence[Features]) -> Features | None:
        """Let the network choose."""
        return self.network.recall(index, history)

    def refine(
        self, index: int, image: Tensor, features: Features | None, beside: Beside | None = None
    ) -> tuple[Tensor, Features]:
        """Replay the block of cascade `index`; the first time for a size, record it."""
        inputs = [image, *(beside.tensors() if beside is not None else ()), *(features or ())]
        size = (image.shape, image.dtype, image.device)
        key = (index, *((one.shape, one.stride(), one.dtype) for one in inputs))
        with self._turn:
            if size != self._size:
                self._size, self._replays = size, {}
            if key not in self._replays:
                self._replays[key] = self._record(self._step(index, beside), inputs)
            refined, *handed = self._replays[key](inputs)
        return refined, tuple(handed)

    def _step(self, index: int, like: Beside | None) -> Step:
        count = len(like.tensors()) if like is not None else 0

        def step(image: Tensor, *others: Tensor) -> list[Tensor]:
            beside = like.filled(others[:count]) if like is not None else None
            features = others[count:]
            # Weights in reduced precision must be made inside the recording: those kept from outside vanish with it.
            with torch.autocast(
                image.device.type,
                self._compute_dtype,
                enabled=self._compute_dtype == torch.bfloat16,
                cache_enabled=False,
            ):
                refined, handed = self.network.refine(index, image, features or None, beside)
            return [refined, *handed]

        return step
