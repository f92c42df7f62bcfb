"""Themes of texts: a classifier learnt from a list of example sentences, and shares that know its errors.

Belongs here: from texts and examples to a theme or ``overig_onzeker``, and from predictions and a checked
sample to shares. Does not belong here: reading the list, and where the checks come from.

Ideas are never merged by likeness: such measures ignore whether somebody is for or against.

Sources: shares corrected by a random sample judged by people, as a difference estimator: Särndal, Swensson
and Wretman, Model Assisted Survey Sampling (1992), section 6.3; Angelopoulos et al., "Prediction-powered
inference", Science 382 (2023) 669-674.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

REST = "overig_onzeker"
MIN_CHECKED = 200
"""Checked texts below which no share is published."""
MIN_ACCURACY = 0.70
"""Accuracy on the checked texts below which no share is published."""
Z_95 = 1.959963984540054

Embedding = Callable[[Sequence[str]], npt.NDArray[np.float64]]


def classify(
    examples: Sequence[str],
    themes: Sequence[str],
    texts: Sequence[str],
    *,
    margin: float = 0.10,
    embedding: Embedding | None = None,
) -> pd.DataFrame:
    """Give each text the theme that its words look like most, or ``overig_onzeker``.

    Logistic regression on character 3- to 5-grams within words (or on an embedding). A text is left
    undecided when its best theme leads the second by less than `margin`.

    Args:
        examples: example sentences.
        themes: theme of each, of at least two different ones.
        texts: texts to place.
        margin: least lead in probability, from 0 to 1.
        embedding: turns texts into vectors, shape (texts, dimensions).

    Returns:
        One row a text: ``thema`` and ``voorsprong`` (the lead, from 0 to 1).

    Raises:
        ValueError: fewer than two themes.
    """
    if len(set(themes)) < 2:
        raise ValueError("examples of at least two themes are needed to tell them apart")
    if not texts:
        return pd.DataFrame({"thema": pd.Series(dtype="str"), "voorsprong": pd.Series(dtype="float64")})
    regression = LogisticRegression(C=10.0, max_iter=1000)
    # On so few examples threads cost more than they bring.
    with threadpool_limits(1):
        if embedding is None:
            grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, lowercase=True)
            model = make_pipeline(grams, regression).fit(examples, themes)
            probability = model.predict_proba(texts)
        else:
            probability = regression.fit(embedding(examples), themes).predict_proba(embedding(texts))
    ranked = np.sort(probability, axis=1)
    lead = ranked[:, -1] - ranked[:, -2]
    best = regression.classes_[probability.argmax(axis=1)]
    return pd.DataFrame({"thema": np.where(lead >= margin, best, REST), "voorsprong": lead})


def sample(ids: Sequence[str], size: int, seed: int) -> list[str]:
    """A simple random sample of texts to be checked by people; the same for the same texts and seed.

    Each text has a random number of its own, by its id and the seed; the lowest are drawn. So a text that
    comes later takes the place of one at most, and what people checked stays of use (bottom-k sampling: Cohen
    and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007).
    """

    def number(ident: str) -> bytes:
        return hashlib.blake2b(ident.encode(), key=str(seed).encode(), digest_size=16).digest()

    return sorted(ids, key=number)[:size]


def corrected_shares(predicted: Sequence[str], checked: pd.DataFrame, themes: Sequence[str]) -> pd.DataFrame:
    """Share of each theme with a 95% interval that includes the classifier's errors.

    The share of predictions over all texts plus the mean of (truth - prediction) over the checked random
    sample: right on average whatever the classifier does. Its variance is that of the differences in the
    sample, with the correction for a sample of a finite number of texts; plain shares of predictions come
    with intervals that hold the truth far too seldom.

    Args:
        predicted: theme of every text, the checked ones too.
        checked: the sample, with ``voorspeld`` and ``werkelijk``.
        themes: themes to give the share of, with ``overig_onzeker`` if wanted.

    Returns:
        Per theme ``thema``, ``aandeel_voorspeld``, ``aandeel``, ``onder`` and ``boven``, all from 0 to 1.

    Raises:
        ValueError: fewer than two checked texts.
    """
    number = len(checked)
    if number < 2:
        raise ValueError(f"{number} checked texts, expected at least 2")
    everything = np.asarray(predicted, dtype=object)
    finite = 1 - number / max(len(everything), number)
    rows: list[tuple[str, float, float, float, float]] = []
    for theme in themes:
        plain = float((everything == theme).mean())
        truth = (checked["werkelijk"] == theme).to_numpy(dtype=float)
        difference: npt.NDArray[np.float64] = truth - (checked["voorspeld"] == theme).to_numpy(dtype=float)
        share = plain + difference.mean()
        # A sample without any error proves no absence of errors: at least half an error is reckoned with.
        variance = max(difference.var(ddof=1), 0.5 / number)
        half = Z_95 * np.sqrt(variance / number * finite)
        middle, low, high = (float(v) for v in np.clip((share, share - half, share + half), 0, 1))
        rows.append((theme, plain, middle, low, high))
    return pd.DataFrame(rows, columns=["thema", "aandeel_voorspeld", "aandeel", "onder", "boven"])


def may_be_published(checked: pd.DataFrame) -> bool:
    """Whether the checks are enough: at least 200 texts, of which 70% got the right theme."""
    if len(checked) < MIN_CHECKED:
        return False
    return bool((checked["voorspeld"] == checked["werkelijk"]).mean() >= MIN_ACCURACY)
