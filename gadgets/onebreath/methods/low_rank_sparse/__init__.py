"""L+S: a series as the sum of a background of low rank and of what is sparse over time."""

from onebreath.methods.low_rank_sparse.low_rank_sparse import LowRankSparse

__all__ = ["LowRankSparse"]
