import numpy as np
import pytest
import safetensors.numpy

from course_utils.models import safetensors_file

TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1.5, -0.0, 3e-40], dtype=np.float32),
}
SHAPES = {name: w.shape for name, w in TENSORS.items()}


def test_the_library_reads_what_we_write(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors_file.write(path, SHAPES, iter(TENSORS.items()))
    back = safetensors.numpy.load_file(path)
    assert list(back) == list(TENSORS)
    for name, w in TENSORS.items():
        assert back[name].tobytes() == w.tobytes()


def test_float64_is_rounded_to_nearest(tmp_path):
    w = np.array([1 + 2.0**-25, 1 + 2.0**-24 + 2.0**-40])
    path = tmp_path / "model.safetensors"
    safetensors_file.write(path, {"w": (2,)}, [("w", w)])
    back = safetensors.numpy.load_file(path)["w"]
    assert back.tolist() == [1.0, 1 + 2.0**-23]


@pytest.mark.parametrize(
    "tensors",
    [
        [("b", TENSORS["b"]), ("a.weight", TENSORS["a.weight"])],
        [("a.weight", TENSORS["a.weight"].T), ("b", TENSORS["b"])],
        [("a.weight", TENSORS["a.weight"])],
    ],
    ids=["order", "shape", "missing"],
)
def test_other_tensors_than_announced_are_refused(tmp_path, tensors):
    with pytest.raises(ValueError, match=r"Expected tensor|shorter"):
        safetensors_file.write(tmp_path / "model.safetensors", SHAPES, tensors)
