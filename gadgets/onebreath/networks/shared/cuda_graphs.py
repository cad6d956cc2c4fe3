"""CUDA graphs: the learned parts of a network are recorded on the GPU once per size and then replayed.

A cascade of a recurrent network is some hundred small kernels, which a GPU computes faster than Python can launch them.
A graph launches all of them at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from onebreath.networks.shared.refinement import ExtraInputs
from onebreath.networks.shared.unrolled import Features, UnrolledNetwork

Step = Callable[..., Sequence[Tensor]]
Replay = Callable[[Sequence[Tensor]], Sequence[Tensor]]
Record = Callable[[Step, Sequence[Tensor]], Replay]

_WARM_UPS = 2
"""Runs before the recording, in which libraries choose algorithms and allocate workspaces."""


def record_on_gpu(step: Step, inputs: Sequence[Tensor]) -> Replay:
    """Record a step on the current GPU; returns a function that replays it on inputs of the same layout.

    The restrictions of a recording apply to the calling thread only; others may use the GPU meanwhile.

    Parameters
    ----------
    step
        Function from tensors to tensors that does not read values of tensors on the CPU.
    inputs
        Inputs of the first run.
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
        # The last replay may have been in another stream and still be running there.
        torch.cuda.current_stream().wait_event(done)
        for target, source in zip(held, given, strict=True):
            target.copy_(source)
        graph.replay()
        copies = [one.clone() for one in made]
        done.record()
        return copies

    return replay


class CudaGraphNetwork(UnrolledNetwork):
    """A network with the weights of another one whose refinements are CUDA graphs, for inference.

    Graphs are kept for one size of series; those of the previous size are dropped, as each holds as much memory as a
    reconstruction. Several threads may reconstruct at once; they take turns at each cascade.

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
        """Features as recalled by the other network."""
        return self.network.recall(index, history)

    def refine(
        self, index: int, image: Tensor, features: Features | None, extra: ExtraInputs | None = None
    ) -> tuple[Tensor, Features]:
        """Replay the block of cascade `index`; the first time for a size, record it."""
        inputs = [image, *(extra.tensors() if extra is not None else ()), *(features or ())]
        size = (image.shape, image.dtype, image.device)
        key = (index, *((one.shape, one.stride(), one.dtype) for one in inputs))
        with self._turn:
            if size != self._size:
                self._size, self._replays = size, {}
            if key not in self._replays:
                self._replays[key] = self._record(self._step(index, extra), inputs)
            refined, *handed = self._replays[key](inputs)
        return refined, tuple(handed)

    def _step(self, index: int, like: ExtraInputs | None) -> Step:
        count = len(like.tensors()) if like is not None else 0

        def step(image: Tensor, *others: Tensor) -> list[Tensor]:
            extra = like.filled(others[:count]) if like is not None else None
            features = others[count:]
            # Weights must be cast inside the recording, as casts cached outside are freed after it.
            with torch.autocast(
                image.device.type,
                self._compute_dtype,
                enabled=self._compute_dtype == torch.bfloat16,
                cache_enabled=False,
            ):
                refined, handed = self.network.refine(index, image, features or None, extra)
            return [refined, *handed]

        return step
