#!/usr/bin/env python3
"""Writes what Python's decimal module answers, one case a line: operation, operands, result.

decimal-vectors.txt is arithmetic on decimals, decimal-vectors-conversion.txt is sample x factor + offset as CloudKitty
computes it (`gnocchi`, `prometheus`) and as it should be (`exact`). Run it as `python3 test/golden/decimal-vectors.py`; the result is the same on every machine. Python's negative zero is
written as zero, because Ratecat's decimals have none.
"""
import math
import os
import random
from decimal import Context, Decimal, MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, ROUND_HALF_UP
from fractions import Fraction

EXACT = Context(prec=20_000, Emax=MAX_EMAX, Emin=MIN_EMIN)
RATING = Context(prec=28, rounding=ROUND_HALF_EVEN)
PROMETHEUS = Context(prec=9, rounding=ROUND_HALF_UP)
PLACES = Decimal((0, (1,), -28))

TYPICAL = ["0", "0.0", "0.00", "1", "1.0", "1.00", "-1", "10", "100", "0.1", "0.25", "0.5", "2.50", "12.6533203125", "3600",
           "1234567.891", "0.0036", "-0.3", "0.000001", "0.0000001", "1E+3", "1.50E-7", "9.9", "0E-28", "0E+3", "1E-28",
           "5E-29", "15E-29", "25E-29", "1E-29", "13267968", "1048576", "0.3333333333333333148296162562",
           "999999999", "9999999995", "99999999.95", "9999999999999999999999999999", "99999999999999999999999999995",
           "9999999999999999999999999999.5", "1E+27", "1E+28", "1E+29", "1E+60", "1E-60"]
BINARY = ["1.7976931348623157E+308", "-1.7976931348623157E+308", "1.7976931348623158E+308", "2.2250738585072014E-308",
          "4.9E-324", "5E-324", "2.4703282292062327E-324", "2.4703282292062328E-324", "2.5E-324", "1E-400",
          "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995", "1E+22", "1E+23",
          "8.5E+22", "0.1", "0.2", "0.3", "1E-7", "123456789012345678901234567890"]


def digits(rng, length):
    return str(rng.randint(1, 9)) + "".join(rng.choice("0123456789") for _ in range(length - 1))


def number(rng):
    """A random literal; half of them are awkward on purpose."""
    kind = rng.randrange(8)
    sign = rng.choice(["", "", "-"])
    if kind == 0:
        return rng.choice(TYPICAL)
    if kind == 1:  # a price or quantity
        return sign + str(rng.randint(0, 99_999)) + "." + digits(rng, rng.randint(1, 8))
    if kind == 2:  # a printed binary float
        return str(Decimal(repr(rng.uniform(-1, 1) * 10.0 ** rng.randint(-12, 15))))
    if kind == 3:  # a tie at 28 or 9 digits
        return sign + digits(rng, rng.choice([9, 28])) + rng.choice(["5", "50", "500", "51", "49"]) + f"E{rng.randint(-40, 5)}"
    if kind == 4:  # carries through all digits
        return sign + "9" * rng.randint(1, 31) + rng.choice(["", "5", "4", "50"]) + f"E{rng.randint(-36, 5)}"
    if kind == 5:  # trailing zeros
        return sign + digits(rng, rng.randint(1, 5)) + "0" * rng.randint(1, 12) + f"E{rng.randint(-30, 6)}"
    if kind == 6:
        return sign + digits(rng, rng.randint(1, 3)) + f"E{rng.randint(-60, 30)}"
    return sign + digits(rng, rng.randint(1, 40)) + f"E{rng.randint(-45, 12)}"


def show(value):
    return str(value.copy_abs() if value.is_zero() else value)


def plain(value):
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if value.is_zero() else text


def quantized(value):
    return value if value.as_tuple().exponent >= -28 else value.quantize(PLACES, context=EXACT)


def rescaled(value):
    """The same value with two more places."""
    same = EXACT.quantize(value, Decimal((0, (1,), value.as_tuple().exponent - 2)))
    return show(same), same


FACTORS = ["1", "0", "10", "-1", "0.5", "0.1", "1.5", "1/1048576", "1/1073741824", "3600/1000000", "1/3", "2/3", "1/7", "-22/7",
           "1/3600", "1/86400", "8/1000000000", "9007199254740993", "1/9007199254740993", "0.000001", "1/1000", "123/1024"]


def factor(rng):
    if rng.random() < 0.7:
        return rng.choice(FACTORS)
    if rng.random() < 0.5:
        return f"{rng.randint(-10**9, 10**9)}/{rng.randint(1, 10**12)}"
    return digits(rng, rng.randint(1, 20)) + f"E{rng.randint(-20, 4)}"


def constant(text):
    """An integer is exact, everything else becomes the nearest float."""
    return Decimal(text) if text.lstrip("-").isdigit() else Decimal(float(Fraction(text)))


def convert(context, sample, a, b):
    return context.add(context.multiply(sample, constant(a)), constant(b))


def exact(sample, a, b):
    value = Fraction(sample) * Fraction(a) + Fraction(b)
    return RATING.divide(Decimal(value.numerator), Decimal(value.denominator))


def write_conversions(rng, folder):
    lines = []
    for _ in range(1300):
        sample = Decimal(number(rng))
        a, b = factor(rng), rng.choice(["0", "0", "0", factor(rng)])
        text = show(sample)
        lines.append(f"gnocchi {text} {a} {b} {show(convert(RATING, Decimal(float(sample)), a, b))}")
        lines.append(f"prometheus {text} {a} {b} {show(convert(PROMETHEUS, PROMETHEUS.plus(sample), a, b))}")
        lines.append(f"exact {text} {a} {b} {plain(exact(sample, a, b))}")
    for _ in range(500):
        bits = rng.choice([8, 53, 54, 55, 64, 200, 1100])
        a = Fraction(rng.getrandbits(bits) | 1, rng.choice([3, 2**30, 2**bits, 10**7, 3 * 2**1074, 2**1075, 2**1060]))
        if a < 10**300:
            lines.append(f"float {a} {show(Decimal(float(a)))}")
    write(os.path.join(folder, "decimal-vectors-conversion.txt"), lines)


def write(path, lines):
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    print(f"{len(lines)} cases in {path}")


def main():
    rng = random.Random(28)
    folder = os.path.dirname(os.path.abspath(__file__))
    lines = []

    def case(*words):
        lines.append(" ".join(words))

    def operand():
        text = number(rng)
        value = Decimal(text)
        return ("0", Decimal(0)) if value.is_zero() and value.is_signed() else (text, value)

    for _ in range(1700):
        (a, x), (b, y) = operand(), operand()
        case("plus", a, b, show(EXACT.add(x, y)))
        case("plus28", a, b, show(RATING.add(x, y)))
    for _ in range(1700):
        (a, x), (b, y) = operand(), operand()
        case("minus28", a, b, show(RATING.subtract(x, y)))
        case("plus9", a, b, show(PROMETHEUS.add(x, y)))
    for _ in range(1700):
        (a, x), (b, y) = operand(), operand()
        case("times", a, b, show(EXACT.multiply(x, y)))
        case("times28", a, b, show(RATING.multiply(x, y)))
        case("times9", a, b, show(PROMETHEUS.multiply(x, y)))
    for _ in range(1700):
        a, x = operand()
        b, y = operand() if rng.random() < 0.7 else rescaled(x)
        case("compare", a, b, str(int(EXACT.compare(x, y))))
    for _ in range(1300):
        a, x = operand()
        case("round28", a, show(RATING.plus(x)))
        case("round9", a, show(PROMETHEUS.plus(x)))
        case("quantize", a, show(quantized(x)))
        case("floor", a, str(math.floor(x)))
        case("ceil", a, str(math.ceil(x)))
    for _ in range(1300):
        a, x = operand()
        case("reference", a, show(x))
        case("plain", a, plain(x))
    for i in range(1700):
        a, x = (BINARY[i], Decimal(BINARY[i])) if i < len(BINARY) else operand()
        case("binary", a, show(Decimal(float(x))))

    write(os.path.join(folder, "decimal-vectors.txt"), lines)
    write_conversions(rng, folder)


main()
