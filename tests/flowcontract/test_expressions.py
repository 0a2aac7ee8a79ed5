"""Expressions in scenarios become values with their types, the same ones for the same seed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from itertools import permutations
from types import MappingProxyType
from typing import Any

import pytest

from flowcontract.errors import ScenarioError
from flowcontract.scenarios.expressions import Context, RequestView
from flowcontract.scenarios.templates import compile_value

REQUEST = RequestView(
    method="POST",
    path={"flow_id": "f-1"},
    query={"limit": 20, "tag": ["a", "b"]},
    headers={"x-trace-id": "t"},
    body={"user": "abc", "n": 3, "files": [{"url": "http://a"}], "a/b": {"~": True}, "file": {"filename": "x.txt"}},
)
CONTEXT_DATA: dict[str, Any] = {
    "now": 1_721_272_956,
    "violation": {"field": "user", "message": "m", "rule": "required", "location": "body"},
    "world": {"total": 2, "run": {"id": "r", "steps": [{"n": 7}]}, "nothing": None},
    "app": {"name": "demo"},
}


def render(value: Any, *, seed: str = "0", **more: Any) -> Any:
    """Return what a value of a scenario becomes."""
    context = Context(request=REQUEST, seed=seed, **{**CONTEXT_DATA, **more})
    return compile_value(value).render(context)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$request.method", "POST"),
        ("$request.path.flow_id", "f-1"),
        ("$request.query.limit", 20),
        ("$request.query.tag", ["a", "b"]),
        ("$request.header.X-Trace-Id", "t"),
        ("$request.body", REQUEST.body),
        ("$request.body#/user", "abc"),
        ("$request.body#/n", 3),
        ("$request.body#/files/0/url", "http://a"),
        ("$request.body#/a~1b/~0", True),
        ("$request.body#/file/filename", "x.txt"),
        ("$now", 1_721_272_956),
        ("$now+5", 1_721_272_961),
        ("$now.iso", "2024-07-18T03:22:36Z"),
        ("$violation.field", "user"),
        ("$violation.location", "body"),
        ("$world.total", 2),
        ("$world.run", {"id": "r", "steps": [{"n": 7}]}),
        ("$world.run.steps.0.n", 7),
        ("$app.name", "demo"),
    ],
)
def test_an_expression_becomes_its_value_with_its_type(expression: str, value: object) -> None:
    """Numbers stay numbers, lists stay lists."""
    assert render(expression) == value
    assert type(render(expression)) is type(value)


@pytest.mark.parametrize(
    "expression",
    [
        "$request.path.other",
        "$request.query.other",
        "$request.header.Other",
        "$request.body#/other",
        "$request.body#/files/1",
        "$request.body#/user/deeper",
        "$world.other",
        "$world.run.other",
        "$world.nothing",
        "$app.other.deeper",
    ],
)
def test_what_is_absent_is_null_and_inside_a_text_nothing(expression: str) -> None:
    """A request need not have every field that a reply would repeat."""
    assert render(expression) is None
    assert render(f"<{{{expression}}}>") == "<>"


def test_without_a_body_every_field_of_it_is_null() -> None:
    """A request may have no body at all."""
    assert compile_value(["$request.body", "$request.body#/a"]).render(Context()) == [None, None]


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("user {$request.body#/user} of {$app.name}", "user abc of demo"),
        ("{$request.body#/n}{$request.body#/n}", "33"),
        ("{$request.body#/a~1b/~0}", "true"),
        ("{$request.query.tag}", '["a", "b"]'),
        ("{$request.body#/user}", "abc"),
    ],
)
def test_expressions_inside_a_text_become_text(text: str, rendered: str) -> None:
    """In braces, anywhere in a longer string; what is no text is written as JSON."""
    assert render(text) == rendered


@pytest.mark.parametrize(
    "text",
    ["", "$", "$5.00", "$ 3", "${x}", "{$}", "{$5}", "$schema", "a $now", "{now}", "$A.b", "{0.__class__}", "%(user)s"],
)
def test_other_text_is_literal(text: str) -> None:
    """Prices, shell variables and format strings are sent as they stand."""
    assert render(text) == text


def test_expressions_are_found_at_every_depth_and_constants_are_shared() -> None:
    """Only what changes is built anew for a reply."""
    template = compile_value({"a": [1, {"b": "$request.body#/user"}], "constant": {"deep": [1, 2]}})
    first, second = template.render(Context(request=REQUEST)), template.render(Context(request=REQUEST))
    assert first == {"a": [1, {"b": "abc"}], "constant": {"deep": [1, 2]}}
    assert first["constant"] is second["constant"]
    assert first["a"] is not second["a"]


def test_json_is_escaped_to_ascii() -> None:
    """Real servers of these versions escape; clients must cope with it."""
    assert compile_value({"a": "ü你"}).render_with_json(Context())[1] == '{"a": "\\u00fc\\u4f60"}'
    assert compile_value({"a": "$app.x"}).render_with_json(Context(app={"x": "ü"}))[1] == '{"a": "\\u00fc"}'


def test_value_and_json_say_the_same_however_expressions_are_mixed() -> None:
    """What is the same throughout a reply is worked out once for it, the rest each time; each stands in its place."""
    holes = ["$id.task", "$each", "$now {$id.task}", "$world.steps", "$now", "$app.name", "{$each}", "$id.run"]
    templates = [compile_value({"a": list(order), "b": order[0]}) for order in permutations(holes, 4)]
    for seed in ("1", "2"):
        context = Context(seed=seed, now=5, world={"steps": 0}, app={"name": ["n"]})
        ids = {name: context.derive_id(name) for name in ("task", "run")}
        for number, (template, order) in enumerate(zip(templates, permutations(holes, 4), strict=True)):
            context.each, context.world = number, {"steps": -number}
            known = [ids["task"], number, f"$now {ids['task']}", -number, 5, ["n"], str(number), ids["run"]]
            expected = [known[holes.index(text)] for text in order]
            value, written = template.render_with_json(context)
            assert value == json.loads(written) == {"a": expected, "b": expected[0]}


def test_json_of_a_sample_is_that_of_the_sample_only() -> None:
    """The text is remembered for the very value that stands in the scenario, not for what replaces it."""
    sample = {"name": ["s"]}
    template = compile_value("$world.name", sample=sample)
    said = {"name": ["w"]}
    assert template.render_with_json(Context()) == (["s"], '["s"]')
    assert template.render_with_json(Context(world=said))[1] == '["w"]'
    said["name"].append("x")
    assert template.render_with_json(Context(world=said))[1] == '["w", "x"]'
    assert template.render_with_json(Context())[1] == '["s"]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$requst.body", "$request.body#/POINTER"),
        ("$requests.method", "$request.method"),
        ("$request.bdy#/user", "$request.body#/POINTER"),
        ("$request", "$request.method"),
        ("$request.path", "$request.path.NAME"),
        ("$request.body#user", "$request.body#/POINTER"),
        ("$id", "$id.NAME"),
        ("$now.epoch", "$now.iso"),
        ("$now+soon", "$now+SECONDS"),
        ("$violation.text", "$violation.message"),
        ("$world", "$world.NAME"),
        ("$app", "$app.NAME"),
        ("a {$app} b", "$app.NAME"),
        ("$faker.nam", "$faker.name"),
        ("$faker.seed_instance", "$faker."),
        ("$faker.__class__", "$faker.name"),
        ("$faker.add_provider", "$faker."),
        ("$faker.name.upper", "$faker.name"),
        ("{$os.environ} x", "$request.method"),
    ],
)
def test_a_mistake_is_told_when_the_scenario_is_read(text: str, said: str) -> None:
    """The error names the place, the expression, and what there is."""
    with pytest.raises(ScenarioError) as error:
        compile_value({"deep": [text]}, name="a.yaml, line 3")
    assert str(error.value).startswith("a.yaml, line 3: No expression")
    assert said in str(error.value)


@pytest.mark.parametrize(
    "method", ["date_time", "date", "uuid1", "profile", "credit_card_expire", "binary", "pystruct"]
)
def test_faker_methods_that_follow_the_clock_or_give_no_json_are_refused(method: str) -> None:
    """The same seed gives the same bytes on every day, and every value can be sent."""
    with pytest.raises(ScenarioError, match=method):
        compile_value(f"$faker.{method}")


def test_an_id_is_the_same_within_a_reply_and_another_in_the_next() -> None:
    """Ids depend on the seed and their name only, not on the order in which they are asked for."""
    first = render(["$id.task", "$id.run", "$id.task", "task {$id.task}"], seed="a")
    assert first[0] == first[2] != first[1]
    assert first[3] == f"task {first[0]}"
    assert uuid.UUID(first[0]).version == 4
    assert render(["$id.run", "$id.task"], seed="a") == [first[1], first[0]]
    assert render("$id.task", seed="b") != first[0]


def test_an_id_can_be_fixed_and_read_afterwards() -> None:
    """A behaviour settles the ids it knows, and learns those that the reply made."""
    context = Context(ids={"conversation": "c-1"})
    rendered = compile_value(["$id.conversation", "$id.message"]).render(context)
    assert rendered == ["c-1", context.ids["message"]]


def test_the_same_seed_gives_the_same_invented_values() -> None:
    """Values differ within one reply, and repeat with its seed."""
    names = render(["$faker.name", "$faker.name", "$faker.email"], seed="s")
    assert len(set(names)) == 3
    assert render(["$faker.name", "$faker.name", "$faker.email"], seed="s") == names
    assert render(["$faker.name", "$faker.name", "$faker.email"], seed="t") != names


def test_replies_that_are_rendered_at_the_same_time_do_not_disturb_each_other() -> None:
    """The generator is shared between threads, its state is not."""
    template = compile_value(["$faker.name", "$faker.sentence", "$faker.pricetag"])
    alone = {seed: template.render(Context(seed=seed)) for seed in map(str, range(20))}
    together: dict[str, Any] = {}

    def work(seeds: list[str]) -> None:
        for seed in seeds:
            together[seed] = template.render(Context(seed=seed))

    threads = [threading.Thread(target=work, args=(list(alone)[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert together == alone


def test_a_sample_stands_in_for_what_nobody_knows() -> None:
    """`sample` fills `$world` and `$app` where the context has no such name, and only there."""
    template = compile_value(["$world.name", "$world.run.id", "$app.name"], sample={"name": "s", "run": {"id": 1}})
    assert template.render(Context()) == ["s", 1, "s"]
    world = MappingProxyType({"name": None, "run": {"id": 2}})
    assert template.render(Context(world=world, app={"name": "a"})) == [None, 2, "a"]


def test_faker_is_imported_only_where_a_scenario_asks_for_it() -> None:
    """Its import takes longer than everything else at the start of the mock."""
    script = (
        "import sys; from flowcontract.scenarios.expressions import Context;"
        "from flowcontract.scenarios.templates import compile_value;"
        "compile_value(['$id.a', '$now']).render(Context());"
        "before = 'faker' in sys.modules; compile_value('$faker.name').render(Context());"
        "print(before, 'faker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]
