"""The language of event orders: what it reads, what it accepts, and what it says may come next."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcontract.errors import OrderSyntaxError
from flowcontract.streams.order import Alternatives, Order


def follow(order: Order, kinds: str, payload: object = None) -> bool:
    """Tell whether an order accepts a series of kinds, each one letter."""
    state = order.start
    for kind in kinds:
        state = order.step(state, kind, payload)
    return order.accepts(state)


ACCEPTED = [
    ("a", ["a"], ["", "aa", "b"]),
    ("a b c", ["abc"], ["ab", "abcc", "acb"]),
    ("a | b c", ["a", "bc"], ["b", "ac", "abc"]),
    ("a*", ["", "a", "aaa"], ["b", "ab"]),
    ("a+", ["a", "aaa"], ["", "b"]),
    ("a?", ["", "a"], ["aa"]),
    ("(a | b)* c", ["c", "abbac"], ["", "ab", "ca"]),
    ("a (b c)+ d?", ["abc", "abcbcd"], ["a", "abd", "abcb"]),
    ("(a*)*", ["", "aa"], ["b"]),
    ("(a b?)+", ["a", "ab", "aaba"], ["", "b", "abb"]),
    ("(a | a b) c", ["ac", "abc"], ["a", "bc"]),
    ("a* a", ["a", "aaa"], [""]),
    ("((a))", ["a"], [""]),
    ("a? b? c?", ["", "ac", "b", "abc"], ["ca", "aa"]),
    ("a+?", ["", "aa"], ["b"]),
]


@pytest.mark.parametrize(("text", "good", "bad"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_an_order_accepts_its_series_and_no_other(text: str, good: list[str], bad: list[str]):
    """Sequences, alternatives, repetitions and options mean what they mean in every such language."""
    order = Order(text)
    assert [series for series in good if not follow(order, series)] == []
    assert [series for series in bad if follow(order, series)] == []


ORDERS = st.recursive(
    st.sampled_from("abc"),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} | {two[1]})"),
        st.tuples(inner, st.sampled_from("*+?")).map(lambda two: f"({two[0]}){two[1]}"),
    ),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no failure
@given(text=ORDERS, series=st.text("abc", max_size=8))
def test_an_order_accepts_what_the_same_regular_expression_accepts(text: str, series: str):
    """Over one-letter kinds an order is a regular expression, and Python's own engine agrees."""
    assert follow(Order(text), series) == bool(re.fullmatch(text.replace(" ", ""), series))


@settings(deadline=None)  # a busy machine is no failure
@given(text=ORDERS)
def test_the_example_is_accepted_and_nothing_shorter_is(text: str):
    """The generated example follows the order, and every state on its way allows the next kind."""
    order = Order(text)
    example = order.find_example()
    assert example is not None
    state = order.start
    for atom in example:
        assert atom in order.list_allowed(state)
        state = order.step(state, atom.kind)
    assert order.accepts(state)
    if len(example) == 1:
        assert not order.accepts(order.start)


GUARDED = (
    "start (done{data.status!=failed} | done{data.status=failed} error | done{data.status=late|lost, code=7} gone)"
)


@pytest.mark.parametrize(
    ("payload", "allowed"),
    [
        ({"data": {"status": "well"}}, []),
        ({"data": {"status": "failed"}}, ["error"]),
        ({"data": {"status": "late"}, "code": 7}, ["gone"]),
        ({"data": {"status": "late"}, "code": 8}, []),
        ({"data": {}}, []),
        ({}, []),
    ],
)
def test_a_guard_chooses_by_the_values_of_the_event(payload: dict, allowed: list[str]):
    """The same kind leads to different places, as its payload says; an absent field equals nothing."""
    order = Order(GUARDED)
    state = order.step(order.step(order.start, "start", {}), "done", payload)
    assert [str(atom) for atom in order.list_allowed(state)] == allowed
    assert order.accepts(state) == (payload.get("data", {}).get("status") != "failed")


def test_without_a_payload_every_guard_may_hold():
    """Looking ahead knows kinds only, so all that may come is allowed."""
    order = Order(GUARDED)
    state = order.step(order.step(order.start, "start"), "done")
    assert [str(atom) for atom in order.list_allowed(state)] == ["error", "gone"]


def test_an_order_knows_its_kinds_and_prints_its_guards():
    """Kinds come once, in the order of the text; an atom is printed as it would be written."""
    order = Order(GUARDED)
    assert order.list_kinds() == ("start", "done", "error", "gone")
    state = order.step(order.start, "start")
    assert [str(atom) for atom in order.list_allowed(state)] == [
        "done{data.status!=failed}",
        "done{data.status=failed}",
        "done{data.status=late|lost, code=7}",
    ]


@pytest.mark.parametrize("guard", ["{x=1, x=2}", "{x=1, x!=1}", "{x=1|2, x!=1|2}"])
def test_an_order_that_contradicts_itself_is_empty(guard: str):
    """Guards that no event can fulfil make an order that no stream can follow."""
    assert Order(f"a b{guard} c").is_empty()
    assert Order(f"a b{guard} c").find_example() is None
    assert not Order(f"a b{guard}? c").is_empty()


BROKEN = [
    ("", 0, "a kind or a parenthesis is missing"),
    ("a |", 3, "a kind or a parenthesis is missing"),
    ("a (b", 2, "this parenthesis is never closed"),
    ("a)", 1, "this parenthesis closes nothing"),
    ("*a", 0, "a kind is missing before this"),
    ("a , b", 2, "this is not a kind"),
    ("a()", 2, "a kind or a parenthesis is missing"),
    ("a{x}", 1, "a guard is {path=value, ...}"),
    ("a b{x=}", 3, "a guard is {path=value, ...}"),
    ("a {x=1", 2, "this is not a kind"),
]


@pytest.mark.parametrize(("text", "position", "problem"), BROKEN, ids=[row[0] or "nothing" for row in BROKEN])
def test_an_order_that_cannot_be_read_is_told_with_the_place(text: str, position: int, problem: str):
    """The error says what is wrong, and at which character."""
    with pytest.raises(OrderSyntaxError, match=re.escape(problem)) as error:
        Order(text)
    assert error.value.position == position
    assert f"{text[:position]}>>>{text[position:]}" in str(error.value)


def test_alternatives_tell_which_of_them_are_left():
    """Every step narrows them down; the verdict can say which order was followed."""
    both = Alternatives({"short": Order("a c"), "long": Order("a b* c d"), "other": Order("x")})
    progress = both.step(both.start, "a")
    assert both.list_possible(progress) == ("short", "long")
    assert [str(atom) for atom in both.list_allowed(progress)] == ["c", "b"]
    progress = both.step(progress, "c")
    assert (both.list_possible(progress), both.complete(progress)) == (("short", "long"), ("short",))
    assert both.list_possible(both.step(progress, "d")) == both.complete(both.step(progress, "d")) == ("long",)
    assert both.list_possible(both.step(progress, "a")) == ()
    assert both.list_kinds() == ("a", "c", "b", "d", "x")


def test_an_event_out_of_order_is_taken_as_if_in_its_place():
    """After a mistake the stream is followed from where such an event stands, so that one mistake is told once."""
    both = Alternatives({"long": Order("a b c d")})
    progress = both.resume(both.step(both.start, "a"), "c")
    assert both.complete(both.step(progress, "d")) == ("long",)
    assert both.resume(progress, "unheard-of") == progress


@pytest.mark.parametrize("length", [2000])
def test_a_long_series_is_followed_in_steady_time(length: int):
    """States are few and steps are remembered: a series of thousands of events meets a handful of states."""
    order = Order("(a | b)* a (a | b) (a | b)")
    state, states = order.start, set()
    for number in range(length):
        state = order.step(state, "ab"[number % 7 > 3])
        states.add(state)
    assert len(states) <= 16
