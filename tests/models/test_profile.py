import socket

import pytest
import torch

from course_utils.models import profile
from course_utils.models.card import CARDS


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("COURSE_PROFILE", "COURSE_MODEL", "COURSE_ARCH", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(profile.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(profile, "hub_reachable", lambda: False)


@pytest.fixture
def t4(monkeypatch):
    """A machine with a T4."""
    cuda = profile.torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(cuda, "mem_get_info", lambda: (int(15e9), int(15.6e9)))


def test_a_plain_machine_is_a_laptop():
    p = profile.current()
    assert (p.name, p.device, p.n_eval_tokens) == ("laptop", "cpu", None)
    assert (p.model, p.model_reason) == ("embedded", "no model hub is reachable")


def test_ci_is_recognised_and_the_same_everywhere(monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(profile, "hub_reachable", lambda: True)
    p = profile.current()
    assert (p.name, p.model, p.n_eval_tokens) == ("ci", "embedded", 2048)


def test_the_hub_is_preferred_on_a_laptop(monkeypatch):
    monkeypatch.setattr(profile, "hub_reachable", lambda: True)
    assert profile.current().model == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_gpu_is_used_and_its_rules_hold(t4, monkeypatch):
    p = profile.current()
    assert (p.name, p.device, p.arch) == ("gpu", "cuda", "sm75")
    assert p.model == "embedded"
    monkeypatch.setattr(profile, "hub_reachable", lambda: True)
    assert profile.current().model == "HuggingFaceTB/SmolLM2-360M-Instruct"


def test_settings_overrule(t4, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "ci")
    monkeypatch.setenv("COURSE_MODEL", "someone/something")
    p = profile.current()
    assert (p.name, p.reason, p.device) == ("ci", "COURSE_PROFILE says so", "cpu")
    assert p.model == "someone/something"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("COURSE_PROFILE", "fast", "choose one of ci, laptop, gpu"),
        ("COURSE_PROFILE", "gpu", "torch finds no GPU"),
        ("COURSE_ARCH", "t4", "choose one of cpu, sm70, sm75"),
    ],
)
def test_unknown_settings_are_refused(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        profile.current()


def test_the_rules_of_a_t4_without_a_t4(monkeypatch):
    monkeypatch.setenv("COURSE_ARCH", "sm75")
    p = profile.current()
    assert (p.device, p.bf16, p.fp8) == ("cpu", False, False)
    assert p.half_dtype == torch.float16
    monkeypatch.setenv("COURSE_ARCH", "sm90")
    p = profile.current()
    assert (p.bf16, p.fp8, p.half_dtype) == (True, True, torch.bfloat16)


def test_the_rules_of_a_t4_whatever_torch_says_of_the_gpu(t4, monkeypatch):
    cuda = profile.torch.cuda
    monkeypatch.setattr(cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(cuda, "is_bf16_supported", lambda *_, **__: True)
    assert profile.current().half_dtype == torch.bfloat16
    monkeypatch.setenv("COURSE_ARCH", "sm75")
    p = profile.current()
    assert (p.device, p.arch, p.bf16, p.fp8) == ("cuda", "sm75", False, False)
    assert p.half_dtype == torch.float16
    assert "rules of sm75" in profile.describe()


def test_a_real_t4_has_the_same_rules(t4, monkeypatch):
    # torch says yes because it emulates bfloat16 there.
    monkeypatch.setattr(profile.torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    p = profile.current()
    assert (p.arch, p.half_dtype, p.fp8) == ("sm75", torch.float16, False)


def test_a_newer_gpu_gets_the_newest_rules(t4, monkeypatch):
    monkeypatch.setattr(profile.torch.cuda, "get_device_capability", lambda: (15, 0))
    assert profile.current().arch == "sm120"


def test_the_model_grows_with_the_memory():
    assert profile.model_for(1e9) == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert profile.model_for(80e9) == "HuggingFaceTB/SmolLM2-1.7B-Instruct"


def test_each_model_of_the_table_fits_twice_in_float32():
    for free_bytes, name in profile.GPU_MODELS:
        assert not CARDS[name].gated
        if free_bytes:  # the last one is for everybody
            assert 2 * CARDS[name].memory(32) <= free_bytes
    needs = [free_bytes for free_bytes, _ in profile.GPU_MODELS]
    assert needs == sorted(needs, reverse=True)


def test_one_line_says_what_and_why(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "ci")
    assert profile.describe() == (
        "Profile ci (COURSE_PROFILE says so): model embedded (the same everywhere), "
        "2,048 evaluation tokens, on cpu, rules of cpu."
    )


def test_reachability(monkeypatch):
    monkeypatch.undo()
    reachable = profile.hub_reachable.__wrapped__
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        assert reachable()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not reachable()
        monkeypatch.delenv("HF_HUB_OFFLINE")
    assert not reachable()  # nobody listens any more


@pytest.mark.parametrize(
    "endpoint",
    ["http://x:abc", "http://x:99999", "http://[::1", "huggingface.co", "", "x:80"],
)
def test_an_endpoint_that_is_no_address_is_named(monkeypatch, endpoint):
    monkeypatch.undo()
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ValueError, match="HF_ENDPOINT is") as raised:
        profile.hub_reachable.__wrapped__()
    assert repr(endpoint) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_port_follows_from_the_scheme(monkeypatch):
    for endpoint, address in (
        ("http://mirror", ("mirror", 80)),
        ("https://mirror/path", ("mirror", 443)),
        ("https://mirror:8443", ("mirror", 8443)),
    ):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert profile._hub_address() == address
