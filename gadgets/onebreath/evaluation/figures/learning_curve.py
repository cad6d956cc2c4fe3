"""Learning curve of a model: losses of runs that went on from each other, over all their steps.

    python -m onebreath.evaluation.figures.learning_curve runs/first runs/second --output curve.png

The loss of a step is that of its examples, which differ; the mean of the last ten entries shows where it goes.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.keeping import replacing
from onebreath.training.state.journal import read_journal

MEAN_OF = 10
"""Entries of the journal that are averaged."""


def main(arguments: list[str] | None = None) -> None:
    """Draw the curve."""
    parser = argparse.ArgumentParser(
        prog="python -m onebreath.evaluation.figures.learning_curve",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, in the order in which they were made")
    parser.add_argument("--output", type=Path, default=Path("learning_curve.png"), help="PNG (default: %(default)s)")
    args = parser.parse_args(arguments)
    draw(args.runs, args.output)


def entries_of(run: Path) -> list[dict[str, float]]:
    """Journal of a run.

    Raises
    ------
    ConfigError
        If the folder has none.
    """
    try:
        return read_journal(run)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{run} is not the folder of a run: {error}") from error


def averaged(losses: list[float], count: int = MEAN_OF) -> list[float]:
    """Mean of each loss and those before it, `count` in all or as many as there are."""
    return [statistics.fmean(losses[max(0, end - count) : end]) for end in range(1, len(losses) + 1)]


def draw(runs: list[Path], output: Path) -> None:
    """Draw the losses of runs, one behind the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), dpi=100, layout="constrained")
    axes, before = figure.subplots(), 0.0
    for run in runs:
        entries = entries_of(run)
        for name, style in (("loss", "-"), ("validation_loss", "o-")):
            found = [(before + one["step"], one[name]) for one in entries if name in one]
            if not found:
                continue
            steps, losses = (list(values) for values in zip(*found, strict=True))
            if name == "loss":
                axes.plot(steps, losses, color="0.85", linewidth=0.8)
                losses = averaged(losses)
            axes.plot(steps, losses, style, markersize=4, label=f"{run.name}: {name.replace('_', ' ')}")
        before += max((one["step"] for one in entries), default=0.0)
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(fontsize=8)
    with replacing(output) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))


if __name__ == "__main__":
    main()
