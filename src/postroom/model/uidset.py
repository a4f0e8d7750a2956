"""A set of numbers (UIDs or message sequence numbers) as disjoint rising ranges.

Invariants: ``ranges`` is a tuple of ``(first, last)`` pairs, ``1 <= first <= last``, rising, neither overlapping nor
adjacent. So size and membership cost as the number of ranges, never as the numbers in it: ``1:4294967295`` is one pair.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

Range = tuple[int, int]


class UidSet:
    """An immutable set of positive integers kept as ranges."""

    __slots__ = ("ranges",)

    ranges: Final[tuple[Range, ...]]

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        """Take ranges in any order, overlapping or not; a reversed pair is turned round (RFC 3501 §9 seq-range)."""
        self.ranges = _normalise(ranges)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> UidSet:
        """Build from single numbers, in any order; O(n log n), O(n) when they rise."""
        ranges: list[Range] = []
        first = last = 0
        ordered = numbers if isinstance(numbers, range) else sorted(numbers)
        for number in ordered:
            if number == last + 1 and last:
                last = number
            elif number != last:
                if last:
                    ranges.append((first, last))
                first = last = number
        if last:
            ranges.append((first, last))
        return cls._trusted(tuple(ranges))

    @classmethod
    def _trusted(cls, ranges: tuple[Range, ...]) -> UidSet:
        made = cls.__new__(cls)
        object.__setattr__(made, "ranges", ranges)
        return made

    def __contains__(self, number: int) -> bool:
        """O(log ranges)."""
        at = bisect_right(self.ranges, (number, 1 << 64)) - 1
        return at >= 0 and self.ranges[at][1] >= number

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UidSet) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def __repr__(self) -> str:
        return f"UidSet({str(self)!r})"

    def __str__(self) -> str:
        """The set in the form of RFC 3501 §9 sequence-set, such as ``1:3,7``; empty for the empty set."""
        return ",".join(f"{first}:{last}" if first != last else str(first) for first, last in self.ranges)

    def __or__(self, other: UidSet) -> UidSet:
        return UidSet((*self.ranges, *other.ranges))

    def __and__(self, other: UidSet) -> UidSet:
        """Intersection; O(ranges of both)."""
        result: list[Range] = []
        left, right = self.ranges, other.ranges
        i = j = 0
        while i < len(left) and j < len(right):
            first = max(left[i][0], right[j][0])
            last = min(left[i][1], right[j][1])
            if first <= last:
                result.append((first, last))
            if left[i][1] < right[j][1]:
                i += 1
            else:
                j += 1
        return UidSet._trusted(tuple(result))

    def __sub__(self, other: UidSet) -> UidSet:
        """Difference; O(ranges of both)."""
        result: list[Range] = []
        holes = other.ranges
        j = 0
        for first, last in self.ranges:
            while j < len(holes) and holes[j][1] < first:
                j += 1
            k = j
            while k < len(holes) and holes[k][0] <= last:
                if holes[k][0] > first:
                    result.append((first, holes[k][0] - 1))
                first = holes[k][1] + 1
                k += 1
            if first <= last:
                result.append((first, last))
        return UidSet._trusted(tuple(result))

    def slice(self, begin: int, end: int) -> UidSet:
        """The numbers at these places, 0 being the lowest, as Python's slices have them (no negative ones). O(ranges)."""
        found: list[Range] = []
        at = 0
        for first, last in self.ranges:
            low, high = max(begin - at, 0), min(end - at, last - first + 1)
            if low < high:
                found.append((first + low, first + high - 1))
            at += last - first + 1
            if at >= end:
                break
        return UidSet._trusted(tuple(found))

    @property
    def first(self) -> int:
        """The lowest number; raises IndexError on the empty set."""
        return self.ranges[0][0]

    @property
    def last(self) -> int:
        """The highest number; raises IndexError on the empty set."""
        return self.ranges[-1][1]


def _normalise(ranges: Iterable[Range]) -> tuple[Range, ...]:
    ordered = sorted((a, b) if a <= b else (b, a) for a, b in ranges)
    result: list[Range] = []
    for first, last in ordered:
        if result and first <= result[-1][1] + 1:
            if last > result[-1][1]:
                result[-1] = (result[-1][0], last)
        else:
            result.append((first, last))
    return tuple(result)
