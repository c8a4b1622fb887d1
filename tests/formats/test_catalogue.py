"""The catalogue: every format by name, through one pair of functions."""

import pytest
import torch

from course_utils.formats import catalogue
from course_utils.formats.catalogue import FORMATS


def test_there_are_sixteen_formats():
    names = "FP32 TF32 BF16 FP16 E5M2 E4M3FN E5M2FNUZ E4M3FNUZ E3M2 E2M3 E2M1 E8M0"
    assert list(FORMATS) == [*names.split(), "INT8", "INT4", "NF4", "FP4_BNB"]
    for name, fmt in FORMATS.items():
        assert fmt.name == name
        assert catalogue.lookup(name.lower()) is fmt


@pytest.mark.parametrize("name", FORMATS)
def test_one_is_a_value_of_every_format(name):
    code = catalogue.encode(torch.tensor([1.0]), name)
    value = catalogue.decode(code, name)
    assert value.dtype == torch.float64
    assert value.item() == 1
    top = catalogue.decode(catalogue.encode(torch.tensor([1e39]).double(), name), name)
    assert top.item() == FORMATS[name].max


def test_saturate_reaches_the_format():
    assert catalogue.encode(torch.tensor([1e6]), "E4M3FN", saturate=False) == 0x7F
    with pytest.raises(ValueError, match="INT8 holds -128 to 127"):
        catalogue.encode(torch.tensor([1e6]), "INT8", saturate=False)


def test_an_unknown_format_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"Unknown format 'E9M9'; .*E4M3FN.*FP4_BNB"):
        catalogue.lookup("E9M9")
    with pytest.raises(ValueError, match="Unknown format 'FP8'"):
        catalogue.decode(torch.tensor([0]), "FP8")
