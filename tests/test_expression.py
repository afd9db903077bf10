"""The rule language: what a text means, and what is said of a text that means nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import ConfigError, Place
from tocsin.expression import (
    And,
    Arithmetic,
    Call,
    Compare,
    Limit,
    Matcher,
    Negate,
    Newest,
    Node,
    Not,
    Number,
    Or,
    Selector,
    Unless,
    is_condition,
    parse,
    selectors,
    walk,
)
from tocsin.functions import names

MINUTE = 60 * 10**9


def metric(name: str) -> Newest:
    return Newest(Selector(name))


def above(name: str, limit: float) -> Compare:
    return Compare(">", metric(name), Number(limit))


HERE = Place("smoker.yaml", 14, 11)


def complaint(text: str, place: Place | None = HERE) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, place)
    return str(caught.value)


class TestMeaning:
    def test_a_bare_metric_is_its_newest_value(self) -> None:
        assert parse("bpm > 100") == Compare(">", Newest(Selector("bpm")), Number(100.0))

    def test_a_function_looks_at_a_window_of_one_selector(self) -> None:
        smoker = Selector("temp_f", (Matcher("device", "=", "smoker"),))
        expected = Compare(">", Call("drop", smoker, 150 * 10**9), Number(15.0))
        assert parse('drop(temp_f{device="smoker"}[2m30s]) > 15') == expected

    def test_a_quantile_has_a_number_before_its_window(self) -> None:
        assert parse("quantile(0.9, v[1h]) > 1") == Compare(
            ">", Call("quantile", Selector("v"), 60 * MINUTE, (0.9,)), Number(1.0)
        )

    @pytest.mark.parametrize("name", [name for name in names() if name not in {"quantile", "stuck", "missing"}])
    def test_every_function_that_gives_a_number_can_be_compared(self, name: str) -> None:
        assert parse(f"{name}(v[1m]) > 1") == Compare(">", Call(name, Selector("v"), MINUTE), Number(1.0))

    @pytest.mark.parametrize("name", ["stuck", "missing"])
    def test_stuck_and_missing_are_conditions_by_themselves(self, name: str) -> None:
        node = parse(f"not {name}(v[1m])")
        assert node == Not(Call(name, Selector("v"), MINUTE))
        assert is_condition(node)

    def test_limit_asks_the_device_and_has_a_default(self) -> None:
        assert parse('v > limit("max_temp", 75)') == Compare(">", metric("v"), Limit("max_temp", 75.0))
        assert parse("v > limit('max_temp', -5)") == Compare(">", metric("v"), Limit("max_temp", -5.0))
        assert parse("v > limit('max_temp')") == Compare(">", metric("v"), Limit("max_temp", None))

    def test_a_metric_may_be_named_like_a_function(self) -> None:
        assert parse("count > 5 and limit > 3") == And(above("count", 5.0), above("limit", 3.0))

    def test_a_name_may_begin_with_a_keyword_and_hold_dots_and_colons(self) -> None:
        assert parse("android.os:load > 1 or order > 2") == Or(above("android.os:load", 1.0), above("order", 2.0))

    def test_keywords_are_read_in_any_case_as_in_promql(self) -> None:
        assert parse("a > 1 AND b > 2") == parse("a > 1 and b > 2")

    def test_comments_and_line_ends_mean_nothing(self) -> None:
        assert parse("a > 1 # the lid is open\n  and b > 2") == And(above("a", 1.0), above("b", 2.0))

    def test_the_order_of_matchers_and_the_kind_of_quotes_mean_nothing(self) -> None:
        assert parse("""v{a="1", b!~'2',} > 0""") == parse("""v{b!~`2`,a='1'} > 0""")

    def test_a_text_may_hold_quotes_and_backslashes(self) -> None:
        [selector] = selectors(parse(r"""v{a="say \"no\" \\d", b=`\d+`} > 0"""))
        assert selector.matchers == (Matcher("a", "=", 'say "no" \\d'), Matcher("b", "=", "\\d+"))

    @pytest.mark.parametrize(("text", "value"), [("7", 7.0), ("0.5", 0.5), (".5", 0.5), ("1e3", 1000.0), ("2.", 2.0)])
    def test_numbers_are_written_as_anywhere(self, text: str, value: float) -> None:
        assert parse(f"v > {text}") == above("v", value)

    def test_a_value_alone_is_read_too_since_levels_need_one(self) -> None:
        node = parse("temp - ambient")
        assert node == Arithmetic("-", metric("temp"), metric("ambient"))
        assert not is_condition(node)


class TestPrecedence:
    def test_a_minus_binds_looser_than_a_power(self) -> None:
        power = Arithmetic("^", metric("v"), Number(2.0))
        assert parse("-v ^ 2 > 0") == Compare(">", Negate(power), Number(0.0))

    def test_powers_group_from_the_right(self) -> None:
        right = Arithmetic("^", Number(3.0), Number(2.0))
        assert parse("2 ^ 3 ^ 2 == v") == Compare("==", Arithmetic("^", Number(2.0), right), metric("v"))

    def test_not_binds_looser_than_a_comparison_and_tighter_than_and(self) -> None:
        assert parse("not a > 1 and b > 2") == And(Not(above("a", 1.0)), above("b", 2.0))

    def test_or_binds_loosest_and_unless_like_and(self) -> None:
        a, b, c, d = (above(name, 1.0) for name in "abcd")
        assert parse("a > 1 or b > 1 and c > 1 unless d > 1") == Or(a, Unless(And(b, c), d))

    def test_brackets_come_first(self) -> None:
        a, b, c = (above(name, 1.0) for name in "abc")
        assert parse("(a > 1 or b > 1) and c > 1") == And(Or(a, b), c)

    @given(st.lists(st.sampled_from("+-*/%^"), min_size=1, max_size=12), st.data())
    def test_arithmetic_groups_as_python_groups_it(self, operators: list[str], data: st.DataObject) -> None:
        signs = st.sampled_from(["", "-", "+", "--"])
        numbers = [f"{data.draw(signs)}{number}" for number in range(len(operators) + 1)]
        text = numbers[0] + "".join(f" {op} {number}" for op, number in zip(operators, numbers[1:], strict=True))
        assert parse(f"v == {text}") == Compare("==", metric("v"), grouped_by_python(text.replace("^", "**")))


def grouped_by_python(text: str) -> Node:
    signs = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Pow: "^"}

    def node(tree: ast.expr) -> Node:
        match tree:
            case ast.BinOp(left, op, right):
                return Arithmetic(signs[type(op)], node(left), node(right))
            case ast.UnaryOp(ast.USub(), operand):
                return Negate(node(operand))
            case ast.UnaryOp(_, operand):
                return node(operand)
            case ast.Constant(value):
                return Number(float(str(value)))
        raise AssertionError(tree)

    return node(ast.parse(text, mode="eval").body)


class TestSelectors:
    def selects(self, braces: str, **labels: str) -> bool:
        [selector] = selectors(parse(f"v{braces} > 0"))
        return selector.matches("v", labels)

    def test_another_metric_is_not_selected(self) -> None:
        assert not Selector("v").matches("w", {})

    def test_every_matcher_must_pass(self) -> None:
        assert self.selects('{site="x", device!="a"}', site="x", device="b")
        assert not self.selects('{site="x", device!="a"}', site="x", device="a")

    def test_a_pattern_must_match_the_whole_label(self) -> None:
        assert self.selects('{device=~"food-.*"}', device="food-a")
        assert not self.selects('{device=~"food"}', device="food-a")
        assert not self.selects('{device=~"a|food"}', device="food-a")
        assert not self.selects('{device!~"food-.*"}', device="food-a")

    def test_an_absent_label_is_the_empty_text(self) -> None:
        assert self.selects('{site=""}')
        assert self.selects('{site!="x"}')
        assert self.selects('{site=~"x?"}')
        assert not self.selects('{site=""}', site="x")

    def test_equal_selectors_are_one_whatever_their_place(self) -> None:
        assert len(selectors(parse('max(v{a="1",b="2"}[1m]) > 1 and min(v{b="2",a="1"}[2m]) > 1'))) == 1


class TestPlaces:
    def test_every_node_knows_where_it_begins(self) -> None:
        text = "not a > 1 and max(b[1m]) - 3 > 2"
        begin = {type(node).__name__: text[node.at :] for node in walk(parse(text)) if not isinstance(node, Number)}
        assert begin == {
            "And": text,
            "Not": text,
            "Newest": text[4:],
            "Compare": "max(b[1m]) - 3 > 2",
            "Arithmetic": "max(b[1m]) - 3 > 2",
            "Call": "max(b[1m]) - 3 > 2",
        }

    def test_a_mistake_is_shown_by_line_and_column_of_the_file(self) -> None:
        assert complaint("v > 1 and dorp(v[1m]) > 1").startswith("smoker.yaml:14:21: ")

    def test_a_text_of_several_lines_counts_on(self) -> None:
        assert complaint("v > 1\nand dorp(v[1m]) > 1").startswith("smoker.yaml:15:15: ")

    def test_without_a_file_the_message_itself_says_where(self) -> None:
        assert complaint("dorp(v[1m]) > 1", None).endswith("(column 1 of 'dorp(v[1m]) > 1')")
        assert complaint("v > 1\n and w", None).endswith("(line 2, column 6 of 'v > 1 and w')")


MISTAKES = {
    "dorp(v[1m]) > 1": (1, "there is no function 'dorp'. Did you mean 'drop'?"),
    "avg_over_time(v[1m]) > 1": (1, "there is no function 'avg_over_time'. Did you mean 'avg'?"),
    "mean(v[1m]) > 1": (1, "Did you mean 'avg'?"),
    "frobnicate(v[1m]) > 1": (1, "There are: avg, change, count,"),
    "kmeans(v[1m]) > 1": (1, "'kmeans' is a detector"),
    "v > ": (4, "cut off: expected a metric, a number, a function or '('"),
    "(v > 1": (1, "this '(' is never closed: expected ')'"),
    "(v > 1) and (w{a=')'} > 2": (13, "this '(' is never closed"),
    "v{a='1'": (2, "this '{' is never closed: expected '}'"),
    "v > 1)": (6, "found ')' where an operator or the end was expected"),
    "avg(v[1m) > 1": (6, "this '[' is never closed: expected a duration and ']'"),
    "v{a='1} > 1": (5, "has no closing '"),
    "": (1, "the expression is empty"),
    "   # nothing": (1, "the expression is empty"),
    "v[1m] > 1": (1, "v[1m] is many readings, not a number: say what of them, as in avg(v[1m])"),
    "v[1m]": (1, "as in avg(v[1m])"),
    "avg(v) > 1": (5, "avg needs a window: write avg(v[10m])"),
    "avg(v{a='1'}) > 1": (5, "write avg(v{…}[10m])"),
    "avg() > 1": (1, "write avg(temp[10m])"),
    "avg(v > 1) > 1": (5, "avg takes a metric with a window"),
    "avg(2, v[1m]) > 1": (1, "avg takes no number before its window"),
    "quantile(v[1m]) > 1": (1, "quantile takes one number before its window: write quantile(0.9, temp[10m])"),
    "quantile(90, v[1m]) > 1": (10, "expected a number from 0 to 1"),
    "quantile(-0.1, v[1m]) > 1": (10, "expected a number from 0 to 1"),
    "(v)[1m] > 1": (4, "a window stands right after a metric"),
    "avg(v[10x]) > 1": (7, "'10x' is not a duration: expected a number and a unit"),
    "avg(v[10]) > 1": (7, "'10' is not a duration"),
    "avg(v[]) > 1": (7, "an empty duration"),
    "avg(v[0s]) > 1": (7, "a window of 0s is not possible: expected more than 0s, at most 3650d"),
    "avg(v[9999999w]) > 1": (7, "a window of 9999999w is not possible"),
    "avg(v[-5m]) > 1": (7, "'-5m' is not a duration"),
    "1 < v < 3": (7, "comparisons do not chain: for a value between two limits write '1 < v and v < 3'"),
    "2 > 1": (1, "this compares constants and so never changes"),
    "v > 3 and 2 + 2 == 4": (11, "this compares constants"),
    "5": (1, "no metric stands in this expression"),
    "limit('a', 1) > limit('b', 2)": (1, "no metric stands in this expression"),
    "v and w > 1": (1, "'and' needs a condition, but v is a number: compare it, as in 'temp > 80'"),
    "w > 1 or v": (10, "'or' needs a condition, but v is a number"),
    "w > 1 unless 3": (14, "'unless' needs a condition, but 3 is a number"),
    "not v + 1": (5, "'not' needs a condition, but this is a number"),
    "v + (w > 1) > 2": (6, "'+' needs a number, but the comparison with '>' is true or false"),
    "stuck(v[1m]) > 1": (1, "'>' needs a number, but stuck(…) is true or false"),
    "missing(v[1m]) > 60": (1, "'>' needs a number, but missing(…) is true or false"),
    "-missing(v[1m]) > 60": (2, "'-' needs a number, but missing(…) is true or false"),
    "v{a=~'('} > 1": (6, "'(' is not a regular expression: missing )"),
    "v{a=~'\\d'} > 1": (7, "for a backslash write two, '\\\\d', or put the text into `…`"),
    "v{a=x} > 1": (5, "found 'x' where a text in quotes was expected: write \"x\""),
    "v{a} > 1": (4, "where one of = != =~ !~ was expected"),
    "v{a='1' b='2'} > 1": (9, "where '}' or ',' was expected"),
    "v{1} > 1": (3, "where a label or '}' was expected"),
    "v = 3": (3, "Did you mean '=='?"),
    "v => 3": (3, "Did you mean '>='?"),
    "v ≥ 3": (3, "Did you mean '>='?"),
    "v <> 3": (3, "Did you mean '!='?"),
    "v > 3 && w > 1": (7, "Did you mean 'and'?"),
    "v > 3 adn w > 1": (7, "found 'adn' where an operator or the end was expected. Did you mean 'and'?"),
    "!v > 3": (1, "Did you mean 'not'?"),
    "v =~ 'a'": (3, "a label is matched in braces"),
    "sum(v[1m]) by (state) > 3": (12, "a rule groups readings by its own key, as in 'by: [state]'"),
    "v > 10m": (5, "'10m' is not a number; a duration stands only in a window"),
    "température > 3": (5, "names are made of a-z"),
    "v > 'a'": (5, "found 'a' where a metric"),
    "v > 1e999": (5, "1e999 is too large for a number"),
    "limit(v) > v": (1, 'as in limit("max_temp", 75)'),
    "limit('a', 'b') > v": (1, 'as in limit("max_temp", 75)'),
    "limit('') > v": (1, "limit takes a label in quotes"),
}


SYMBOLS = [*"()[]{},=<>!~+-*/%^'\"`#\\ \n.é", "==", "=~", " > 1"]
WORDS = [
    "v",
    "and",
    "not",
    "unless",
    "or",
    "1",
    "5m",
    "limit",
    "avg(",
    "quantile(0.9,",
    "v[5m]",
    '{a="b"}',
    "max(v[1m])",
]
PIECES = SYMBOLS + WORDS


class TestMistakes:
    @pytest.mark.parametrize("text", MISTAKES)
    def test_a_mistake_is_told_with_its_column_and_remedy(self, text: str) -> None:
        column, said = MISTAKES[text]
        message = complaint(text, Place("f", 1, 1))
        assert message.startswith(f"f:1:{column}: ")
        assert said in message

    def test_an_expression_that_is_nested_too_deep_is_refused_not_crashed_on(self) -> None:
        assert "more than 200 operations deep (only a chain of 'and'" in complaint("-" * 5000 + "v > 1")
        assert "more than 200 operations deep" in complaint(" + ".join(["v"] * 5000) + " > 1")
        assert "more than 200 operations deep" in complaint("not " * 5000 + "v > 1")
        assert parse("(" * 5000 + "v > 1" + ")" * 5000) == above("v", 1.0)

    @pytest.mark.parametrize("word", ["and", "or", "unless"])
    def test_a_chain_of_conditions_may_be_as_long_as_one_likes(self, word: str) -> None:
        found = parse(f" {word} ".join(f"v > {number}" for number in range(3000)))
        limits = [node.right for node in walk(found) if isinstance(node, Compare)]
        assert limits == [Number(float(number)) for number in range(3000)]
        assert hash(found) == hash(replace(found))

    def test_a_chain_that_was_short_enough_before_is_the_same_tree_as_ever(self) -> None:
        """Else every rule with three conditions would count as edited."""
        assert parse("v > 1 and v > 2 and v > 3") == And(And(above("v", 1.0), above("v", 2.0)), above("v", 3.0))

    @given(st.lists(st.sampled_from(PIECES), max_size=12))
    def test_any_text_is_either_read_or_explained_at_a_place_in_it(self, pieces: list[str]) -> None:
        text = "".join(pieces)
        try:
            found: Node | ConfigError = parse(text, Place("f", 1, 1))
        except ConfigError as error:
            found = error
        if isinstance(found, ConfigError):
            assert found.place is not None
            assert 1 <= (found.place.line or 0) <= text.count("\n") + 1
        else:
            assert selectors(found)


def test_reading_a_rule_loads_no_number_cruncher() -> None:
    """`tocsin check` starts in half a second only if nothing heavy comes with the language."""
    program = "import sys, tocsin.rule; print({'numpy', 'numba', 'pyarrow', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
