"""Guesses what a mistyped word was meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``word`` most likely stands for, or None."""
    import difflib  # only needed once something is wrong

    bare = {_bare(each): each for each in known}
    if _bare(word) in bare:
        return bare[_bare(word)]
    found = difflib.get_close_matches(_bare(word)[:64], bare, n=1, cutoff=0.7)
    if found:
        return bare[found[0]]
    letters = sorted(_bare(word)[:64])  # two that changed places are much of a short word
    return next((name for each, name in bare.items() if letters and sorted(each) == letters), None)


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """``did you mean 'x'?``, or ``otherwise``."""
    guess = closest(word, known)
    return f"did you mean {guess!r}?" if guess else otherwise


def _bare(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())
