"""Texts of a file's rows, made once for each distinct value of what they are made from."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from app.chargeback.focus_cells import Int64s, TextColumn


class GroupedLines:
    """Columns of integers, and texts made from any combination of them.

    ``more`` are columns beside those of the lines.
    """

    def __init__(self, lines: pd.DataFrame, more: Mapping[str, Int64s]) -> None:
        self._lines = lines
        self._more = more
        self._groups: dict[tuple[str, ...], tuple[Int64s, Int64s]] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def of(self, name: str) -> Int64s:
        """Return a column."""
        values = self._more[name] if name in self._more else self._lines[name].to_numpy()
        return np.asarray(values, dtype=np.int64)

    def by(self, *names: str, make: Callable[..., str | None]) -> TextColumn:
        """Return texts: ``make`` is called once for each distinct combination of ``names``."""
        codes, first = self._grouped(names)
        keys = [self.of(name)[first].tolist() for name in names]
        return TextColumn(codes, tuple(make(*key) for key in zip(*keys, strict=True)))

    def _grouped(self, names: tuple[str, ...]) -> tuple[Int64s, Int64s]:
        """Return each row's combination as a number, and the first row of each."""
        if names not in self._groups:
            codes, _ = pd.factorize(self.of(names[-1]))
            if len(names) > 1:
                before, first = self._grouped(names[:-1])
                codes, _ = pd.factorize(codes.astype(np.int64) * max(len(first), 1) + before)
            codes = codes.astype(np.int64)
            count = int(codes.max()) + 1 if len(codes) else 0
            first = np.empty(count, dtype=np.int64)
            # The last assignment wins, so backwards the first row stands.
            first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
            self._groups[names] = codes, first
        return self._groups[names]
