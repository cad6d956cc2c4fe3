"""L+S: a series as the sum of a low-rank background and changes that are sparse over time."""

from onebreath.methods.low_rank_sparse.low_rank_sparse import LowRankSparse

__all__ = ["LowRankSparse"]
