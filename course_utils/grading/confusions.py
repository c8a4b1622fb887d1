"""What a reader confuses with what: the tables behind the operators of the gate."""

import ast

SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
}
COMPARED = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
# Functions that a reader confuses, in numpy, torch and math.
CONFUSED = {
    "round": ("trunc", "floor", "ceil"),
    "rint": ("trunc", "floor", "ceil"),
    "floor": ("ceil", "round"),
    "ceil": ("floor", "round"),
    "max": ("min", "mean"),
    "min": ("max", "mean"),
    "amax": ("amin", "mean"),
    "amin": ("amax", "mean"),
    "maximum": ("minimum",),
    "minimum": ("maximum",),
    "argmax": ("argmin",),
    "argmin": ("argmax",),
    "sum": ("mean", "max"),
    "mean": ("sum", "max"),
    "std": ("var",),
    "var": ("std",),
    "log": ("log2", "log10"),
    "log2": ("log", "log10"),
    "log10": ("log", "log2"),
    "exp": ("exp2", "log"),
    "any": ("all",),
    "all": ("any",),
    "ones_like": ("zeros_like",),
    "zeros_like": ("ones_like",),
    "ones": ("zeros",),
    "zeros": ("ones",),
    "int8": ("int16", "uint8"),
    "int32": ("int8", "float32"),
    "float64": ("float16",),
    "float32": ("float16",),
}
CONFUSED_BUILTIN = {
    "round": ("int",),
    "max": ("min",),
    "min": ("max",),
    "sum": ("max",),
    "any": ("all",),
    "all": ("any",),
}
# Calls whose first operand alone is a plausible answer.
DROPPABLE = frozenset(
    {
        *("abs", "absolute", "clip", "clamp", "clamp_", "maximum", "minimum"),
        *("round", "rint", "floor", "ceil", "trunc", "sqrt", "square", "flip"),
        *("astype", "float", "double", "to", "contiguous", "sort", "sorted"),
    }
)
MODULES = frozenset({"np", "numpy", "torch", "math", "F"})
