"""Runs the tests of all candidates at the same time; those that begin with another one's images after that one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from onebreath.methods.base import Method
from onebreath.methods.choice.edge import EdgeTrial
from onebreath.methods.choice.look import FirstLook
from onebreath.methods.choice.plan import Plan
from onebreath.methods.choice.stacked import begins
from onebreath.methods.choice.trial import LineTrial, Tested
from onebreath.threads import side_by_side


def run_all(methods: Sequence[Method], plan: Plan, trial: LineTrial) -> tuple[list[Tested | str], list[float]]:
    """Test all methods that the plan does not leave out; return their results, or why there are none, and the seconds.

    Where the plan has a reference, the other methods are tested in full only if they may be ahead of it.
    """
    reference: Future[Tested | str] = Future()
    look = FirstLook(trial, reference) if plan.reference is not None and isinstance(trial, EdgeTrial) else None

    def test(index: int) -> tuple[Tested | str, float]:
        started, result = time.perf_counter(), plan.left_out.get(index)
        if result is None and look is not None and index != plan.reference:
            return look.run(methods[index]), time.perf_counter() - started
        try:
            found = result or trial.run(methods[index])
        except BaseException:
            found = "it failed"
            raise
        finally:
            if index == plan.reference:
                reference.set_result(found)
        return found, time.perf_counter() - started

    later = [i for i, one in enumerate(methods) if i != plan.reference and any(begins(one, other) for other in methods)]
    # The reference first: nobody waits for it in vain where there are no threads.
    order = sorted(set(range(len(methods))) - set(later), key=lambda index: index != plan.reference)
    results: dict[int, tuple[Tested | str, float]] = {}
    for indices in (order, later):
        results |= dict(zip(indices, side_by_side([partial(test, index) for index in indices]), strict=True))
    return [results[i][0] for i in range(len(methods))], [results[i][1] for i in range(len(methods))]
