"""The frequency paper's search, remade with its faults: each is shown by captions that it miscounts."""

import pyarrow as pa
import pytest

from tailwag.retrieval.captions import CaptionMatcher, count_captions
from tailwag.retrieval.captions.paper_search import PaperIndex, index_words, query_words
from tailwag.retrieval.concepts import Concept, ConceptSet
from tests.corpora import make_corpus, random_unit


def paper_counts(names, captions):
    index = PaperIndex(names)
    index.add(captions)
    return index.counts().tolist()


# what goes wrong, the name, the captions, what the paper counts, what the words come to
FAULTS = [
    ("names in capitals are never found", "Georgia", ["the hills of Georgia", "Georgia"], 0, 2),
    ("unknown words are left out", "2012 Acura TL Sedan", ["a sedan of 2011", "an old sedan"], 2, 0),
    ("digits are stripped", "class of 2012", ["a class", "the class of 2012"], 2, 1),
    ("of a hyphenated word the end stays", "golf-ball", ["a ball", "a golf ball"], 2, 1),
    ("of a compound with digits the end stays", "F-16A/B", ["plan b", "an F-16A/B"], 1, 1),
    ("only nouns are indexed", "braided", ["braided hair", "a braided rug"], 0, 2),
    ("all words are unknown", "xyzzy plugh", ["a cat"], 0, 0),
]


@pytest.mark.parametrize(("fault", "name", "captions", "paper", "words"), FAULTS, ids=[one[0] for one in FAULTS])
def test_a_fault_of_the_papers_search_is_there_with_it_and_not_without(fault, name, captions, paper, words):
    assert paper_counts([name], captions) == [paper]
    assert CaptionMatcher([Concept(name)]).match(pa.array(captions)).words.tolist() == [words]


def test_plurals_meet_their_singular_in_the_index_and_in_the_query():
    assert paper_counts(["dog", "geese", "red dogs"], ["two dogs", "a dog", "a goose", None]) == [2, 1, 2]


def test_what_the_index_and_the_query_hold():
    assert index_words("Two golf-balls, a braided leash and an F-16A/B in Georgia, 2012") == {
        "golf", "ball", "leash", "FA", "B", "Georgia"
    }  # fmt: skip
    assert query_words("Red_Panda's  F-16A/B") == ["red", "'s", "b"]


def test_it_is_counted_beside_the_others_when_asked_for(tmp_path):
    captions = ["a golf ball", "a ball", "", "Georgia"]
    corpus = make_corpus(tmp_path, random_unit(4, 8), captions=captions)
    concepts = ConceptSet("mine", (Concept("golf-ball"), Concept("Georgia")))
    found = count_captions(corpus, concepts, like_paper=True)
    assert (found.paper.tolist(), found.words.tolist()) == ([2, 0], [1, 1])
    assert str(found[0]).endswith("; the frequency paper's search would find 2.")
    assert found.to_arrow().column("paper").to_pylist() == [2, 0]
    assert count_captions(corpus, concepts).paper is None
