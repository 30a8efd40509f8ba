#!/usr/bin/env python3
"""Writes skip-expression-vectors.txt: random expressions and what Python's eval makes of them for one datapoint.

A line is `true`, `false` or `error`, a space, and the expression. The datapoint is repeated in skip-expression.test.ts.
Left out is what Ratecat does differently on purpose: fractions that no binary float holds, lists beside tuples, ordered
lists, and text that is added or repeated.
"""
import os
import random
from decimal import Decimal

DATAPOINT = {
    "vol": {"unit": "GiB", "qty": Decimal("2.50")},
    "rating": {"price": Decimal("0")},
    "groupby": {"project_id": "p-1", "zone": "Nova", "empty": "", "count": Decimal("3"), "on": True, "none": None},
    "metadata": {"flavor": "m1.small", "tags": ["a", "b"], "vcpus": Decimal("4")},
}
TEXTS = ["''", "'a'", '"p-1"', "'nova'", "'Nova'", "'m1'", "'small'", "'GiB'", r"'\x61'", r'"\u0062"']
NUMBERS = ["0", "1", "2", "3", "4", "2.5", "2.50", "-1", "1e1", ".5", "4.", "100"]
NAMES = ["project_id", "zone", "empty", "count", "on", "none", "missing"]
PATHS = ['datapoint.get("vol", {}).get("qty", 0)', 'datapoint["vol"]["qty"]', 'datapoint["vol"]["unit"]', "datapoint['rating']['price']",
         'datapoint["metadata"]["flavor"]', 'datapoint["metadata"].get("vcpus")', 'datapoint["metadata"].get("image")',
         'datapoint.get("nothing", {}).get("deeper", 0)', 'datapoint["metadata"]["tags"]', 'datapoint["metadata"]["tags"][-1]',
         'datapoint["nothing"]', 'datapoint["groupby"]', 'datapoint["metadata"]["tags"][2]', "{}", "[]", "()", "{'a': 1}"]


def one_of(rng, *makers):
    return rng.choice(makers)()


def value(rng, depth):
    if depth <= 0:
        return one_of(rng, lambda: rng.choice(TEXTS), lambda: rng.choice(NUMBERS), lambda: rng.choice(PATHS), lambda: rng.choice(PATHS),
                      lambda: rng.choice(["True", "False", "None"]),
                      lambda: f"datapoint['groupby'].get('{rng.choice(NAMES)}')",
                      lambda: f"datapoint['groupby']['{rng.choice(NAMES)}']")
    inner = lambda: value(rng, depth - 1)
    return one_of(
        rng, inner,
        lambda: f"({inner()})",
        lambda: f"len({inner()})",
        lambda: f"{inner()}.{rng.choice(['lower', 'upper'])}()",
        lambda: f"{inner()}.{rng.choice(['startswith', 'endswith'])}({inner()})",
        lambda: f"{whole(rng)} {rng.choice('+-*')} {whole(rng)}",
        lambda: f"-{whole(rng)}",
        lambda: f"({condition(rng, depth - 1)})")


def whole(rng):
    """Operands that Python can add to decimals (floats are none), and None."""
    return rng.choice(["0", "2", "datapoint['vol']['qty']", "datapoint['groupby']['count']", "True", "None", "(1 - 3)"])


def collection(rng, depth):
    items = ", ".join(value(rng, 0) for _ in range(rng.randint(0, 4)))
    if rng.random() < 0.3:
        return value(rng, depth)
    return rng.choice([f"[{items}]", f"({items},)" if items else "()"])


def condition(rng, depth):
    left, right = (lambda: value(rng, depth - 1)), (lambda: value(rng, depth - 1))
    return one_of(
        rng,
        lambda: f"{left()} {rng.choice(['==', '!=', '<', '<=', '>', '>='])} {right()}",
        lambda: f"{left()} {rng.choice(['==', '!='])} {right()}",
        lambda: f"{left()} {rng.choice(['<', '<=', '=='])} {right()} {rng.choice(['<', '>', '!='])} {right()}",
        lambda: f"{left()} {rng.choice(['in', 'not in'])} {collection(rng, depth - 1)}",
        lambda: f"{left()} {rng.choice(['is', 'is not'])} {rng.choice(['None', 'True', 'False'])}",
        lambda: f"not {condition(rng, depth - 1)}" if depth > 0 else left(),
        lambda: f"{condition(rng, depth - 1)} {rng.choice(['and', 'or'])} {condition(rng, depth - 1)}" if depth > 0 else left(),
        left)


def outcome(text):
    try:
        return "true" if eval(text, {"__builtins__": {"len": len}}, {"datapoint": DATAPOINT}) else "false"
    except SyntaxError:
        return None
    except Exception:
        return "error"


def differs(text):
    """A list equals a tuple in Ratecat only, and lists have an order in Python only."""
    if ("<" in text or ">" in text) and any(word in text for word in ("()", "[]", '["tags"]')):
        return True
    return any(word in text for word in ("()", "(,", ",)", "[]")) and any(word in text for word in ("==", "!=", " in "))


def main():
    import warnings
    warnings.simplefilter("ignore")
    rng = random.Random(5)
    wanted = {"true": 1200, "false": 1200, "error": 600}
    seen = {}
    while any(wanted.values()):
        text = condition(rng, rng.randint(0, 3))
        answer = outcome(text)
        if answer is None or text in seen or not wanted[answer] or len(text) > 300 or differs(text):
            continue
        wanted[answer] -= 1
        seen[text] = answer
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "skip-expression-vectors.txt")
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{answer} {text}\n" for text, answer in seen.items())
    print(f"{len(seen)} cases in {path}")


main()
