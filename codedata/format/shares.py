"""Weights -> how many of the first i draws are of each source, exactly, for any i at once.

Sources are joined two by two, the lightest first (Huffman), and the draws of each pair are parted
by its two weights, the nearest whole number going to one, the rest to the other. So the counts of i
draws are i together; no count shrinks when i grows; nothing is added up on the way, so nothing
drifts; and none is two samples off what its weight says, however many sources there are: a pair is
at most two thirds of what it is part of, so that the halves that its parting may be off by are at
most 1/2 (1 + 1 + 2/3 + 4/9 + ...) = 2 at a source, and that is not reached.
"""

import heapq
from collections.abc import Sequence
from fractions import Fraction


class Shares:
    """How draws are shared by sources.

    Args:
        weights: of each source, more than 0, of any sum.

    Attributes:
        weights: the same, their sum 1.
    """

    def __init__(self, weights: Sequence[Fraction]) -> None:
        whole = sum(weights)
        self.weights = tuple(weight / whole for weight in weights)
        heap = [(weight, number) for number, weight in enumerate(self.weights)]
        heapq.heapify(heap)
        pairs: list[tuple[int, int, Fraction]] = []
        while len(heap) > 1:
            (less, one), (more, other) = heapq.heappop(heap), heapq.heappop(heap)
            pairs.append((one, other, less / (less + more)))
            heapq.heappush(heap, (less + more, len(weights) + len(pairs) - 1))
        self._pairs = [
            (len(weights) + number, one, other, share.numerator, share.denominator)
            for number, (one, other, share) in reversed([*enumerate(pairs)])
        ]

    def counts(self, draws: int) -> list[int]:
        """How many of the first draws are of each source, in their order."""
        of = [draws] * (len(self.weights) + len(self._pairs))
        for pair, one, other, numerator, denominator in self._pairs:
            of[one] = (2 * of[pair] * numerator + denominator) // (2 * denominator)
            of[other] = of[pair] - of[one]
        return of[: len(self.weights)]

    def most(self, available: Sequence[int]) -> int:
        """The most draws for which no source gives more than it has.

        Args:
            available: samples of each source.
        """
        fits = 0
        tops = zip(available, self.weights, strict=True)
        too_many = min(int((number + 2) / weight) for number, weight in tops) + 1
        while too_many - fits > 1:
            draws = (fits + too_many) // 2
            counts = self.counts(draws)
            if all(count <= has for count, has in zip(counts, available, strict=True)):
                fits = draws
            else:
                too_many = draws
        return fits
