"""The judge finds what a broker could do wrong."""
from groups import judge


def test_what_is_copied_well_is_not_blamed():
    assert judge.copied({0: ["0", "2"], 1: ["1"]}, {0: ["0", "2"], 1: ["1"]}) == []


def test_each_way_to_copy_badly_is_found():
    for found, word in (([], "lost"), (["0", "2", "2"], "twice"), (["0", "2", "9"], "never written"), (["2", "0"], "out of order")):
        faults = judge.copied({0: ["0", "2"]}, {0: found})
        assert len(faults) == 1 and word in faults[0], faults


def test_counts_have_neither_gaps_nor_repetitions():
    assert judge.counts_of_words({"a": 2, "b": 1}, [("a", 1), ("b", 1), ("a", 2)]) == []
    assert judge.counts_of_words({"a": 2}, [("a", 1), ("a", 1), ("a", 2)]) == ["a: 1 after 1"]
    assert judge.counts_of_words({"a": 2}, [("a", 2)]) == ["a: 2 after 0"]
    assert judge.counts_of_words({"a": 2}, [("a", 1)]) == ["a: 1 of 2"]


def test_offsets_that_go_back_are_found():
    t = ("t", 0)
    assert judge.went_back([{}, {t: 3}, {t: 3}, {t: 5}]) == []
    assert judge.went_back([{t: 3}, {t: 2}]) == [f"{t}: 2 after 3"]
    assert judge.went_back([{t: 3}, {}]) == [f"{t}: None after 3"]
