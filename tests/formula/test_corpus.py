"""Formulas in the spirit of the field's books look and sound as they were reviewed."""

import unicodedata

import pytest

from tests.formula.corpus import Entry, entries, made
from tutor.formula import parse

CORPUS = entries()


def test_the_corpus_is_large_and_each_formula_is_drawn_completely():
    assert len(CORPUS) >= 400
    assert len({entry.latex for entry in CORPUS}) == len(CORPUS)
    assert not [entry.latex for entry in CORPUS if parse(entry.latex).unsupported]


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: entry.latex)
def test_a_formula_looks_and_sounds_as_reviewed(entry: Entry):
    assert made(entry.latex) == entry


def test_no_sign_is_said_by_a_name_that_is_not_in_words():
    said = " ".join(entry.words for entry in CORPUS)
    assert all(character.isascii() for character in said), said
    assert "full stop" not in said
    assert unicodedata.name("⟨").lower() not in said
