"""Round to nearest: every weight goes to the closest point of its group's grid.

The baseline of every comparison. It looks at no data, and each weight's error is the
smallest that its grid allows; errors of neighbours may still add up in the output.
"""

from torch import Tensor

from course_utils.formats import affine
from course_utils.formats.affine import QuantSpec
from course_utils.formats.qtensor import QTensor, code_dtype
from course_utils.methods.statistics import LayerStats


def quantize(w: Tensor, stats: LayerStats | None = None, *, spec: QuantSpec) -> QTensor:
    """Return `w` rounded to nearest.

    `stats` is not used; it is there so that every method is called alike.

    Shapes: w (rows, cols).
    Errors: |w - w_hat| <= scale / 2, up to float32 rounding.
    Raises: ValueError as `affine.choose_qparams` does.
    """
    del stats
    scale, zero_point = affine.choose_qparams(w, spec=spec)
    q = affine.quantize(w, scale, zero_point, spec=spec)
    return QTensor(q.to(code_dtype(spec)), scale, zero_point, spec)
