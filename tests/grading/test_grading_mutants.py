"""The edits that the gate makes, and those it must not make."""

import ast

from course_utils.grading.mutants import mutants


def lines(source):
    return {m.line for m in mutants(source)}


def test_the_mistakes_of_quantization_are_among_them():
    found = lines(
        "def f(w, bits):\n"
        "    qmax = 2 ** (bits - 1) - 1\n"
        "    scale = w.abs().max() / qmax\n"
        "    q = torch.clamp(torch.round(w / scale), -qmax, qmax)\n"
        "    return (q, scale)\n"
    )
    assert {
        "qmax = 2 ** (bits - 1)",
        "qmax = 2 ** (bits - 1) + 1",
        "qmax = 2 ** bits - 1",
        "scale = w.max() / qmax",
        "scale = w.abs().mean() / qmax",
        "scale = w.abs().min() / qmax",
        "scale = qmax / w.abs().max()",
        "q = torch.round(w / scale)",
        "q = torch.clamp(w / scale, -qmax, qmax)",
        "q = torch.clamp(torch.floor(w / scale), -qmax, qmax)",
        "q = torch.clamp(torch.trunc(w / scale), -qmax, qmax)",
        "q = torch.clamp(torch.round(w * scale), -qmax, qmax)",
        "q = torch.clamp(torch.round(w / scale), qmax, qmax)",
        "return (scale, q)",
        "return w",
    } <= found


def test_keywords_branches_and_statements():
    found = lines(
        "def f(x):\n"
        "    if x.size == 0:\n"
        "        raise ValueError(f'empty {1 + 1}')\n"
        "    y = np.where(x > 0, x, -x)\n"
        "    y[0] = 3\n"
        "    return y.max(axis=1, keepdims=True)\n"
    )
    assert {
        "dropped: if x.size == 0:",
        "if x.size != 0:",
        "if True:",
        "y = x",
        "y = np.where(x >= 0, x, -x)",
        "y = np.where(x > 0, -x, x)",
        "y = np.where(x > 0, x, x)",
        "dropped: y[0] = 3",
        "return y.max(axis=0, keepdims=True)",
        "return y.max(axis=1, keepdims=False)",
        "return y.max(keepdims=True)",
        "return y.max(axis=1)",
    } <= found
    assert not any("1 + 2" in line or "1 - 1" in line for line in found)


def test_docstrings_and_annotations_are_left_alone():
    plain = "def f(x):\n    return x + x"
    dressed = 'def f(x: "4 - 2" = None) -> int:\n    """Add 1 + 1."""\n    return x + x'
    assert lines(plain) == lines(dressed)


def test_every_mutant_is_different_compiles_and_has_its_own_line():
    source = "def f(x, n=3):\n    y = x[1:n]\n    y = y + 1\n    return y + 1\n"
    made = mutants(source)
    assert len({m.source for m in made}) == len(made)
    assert len({m.line for m in made}) == len(made)
    base = ast.unparse(ast.parse(source))
    for mutant in made:
        compile(mutant.source, "mutant", "exec")
        assert mutant.source != base


def test_the_order_is_fixed():
    source = "def f(a, b):\n    return round(a / b) - min(a, b)\n"
    assert mutants(source) == mutants(source)
