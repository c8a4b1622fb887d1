"""What a number was measured on, and nothing about who measured it."""

import json
import platform
import socket

import pytest
import torch

from course_utils.measure import hardware


def test_the_description_fits_a_record(tmp_path):
    described = hardware.describe()
    assert described["device"]["kind"] in {"cpu", "cuda"}
    assert described["device"]["threads"] == torch.get_num_threads()
    assert described["versions"]["torch"] == torch.__version__
    assert described["versions"]["python"] == platform.python_version()


def test_memory_is_what_the_kernel_reports(monkeypatch):
    monkeypatch.setattr(hardware, "CGROUP_LIMITS", ())
    for line in hardware.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            assert hardware.memory_bytes() == int(line.split()[1]) * 1024


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(hardware, "CGROUP_LIMITS", (tmp_path / "none", limit))
    limit.write_text("2000000000\n")
    assert hardware.memory_bytes() == 2_000_000_000
    limit.write_text("max\n")
    assert hardware.memory_bytes() > 2_000_000_000


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert hardware.cores() == 3


def test_the_processor_is_named(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\n")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    assert hardware.cpu_name() == "Some CPU @ 2 GHz"
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "none")
    assert hardware.cpu_name()


def test_a_gpu_is_described_as_one(monkeypatch):
    gpu = type(
        "Properties",
        (),
        {
            "name": "Some GPU",
            "major": 7,
            "minor": 5,
            "multi_processor_count": 40,
            "total_memory": 15 * 2**30,
        },
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    device = hardware.device()
    assert (device["kind"], device["name"], device["arch"]) == (
        "cuda",
        "Some GPU",
        "sm75",
    )
    assert device["memory_bytes"] == 15 * 2**30


def test_versions_leave_out_what_is_not_installed():
    found = hardware.versions(("torch", "no-such-package"))
    assert set(found) == {"python", "torch"}


@pytest.mark.parametrize("word", ["USER", "LOGNAME", "HOME"])
def test_nothing_names_a_user_or_a_host(word, monkeypatch):
    monkeypatch.setenv(word, "/home/nosuchuser")
    monkeypatch.setattr(socket, "gethostname", lambda: "nosuchhost")
    monkeypatch.setattr(platform, "node", lambda: "nosuchhost")
    text = json.dumps(hardware.describe())
    assert "nosuch" not in text
    assert "/home" not in text


def test_other_programs_are_seen(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1\n")
    monkeypatch.setattr(hardware, "CPU_TIMES", stat)

    def later(seconds):  # 100 ticks on: 20 user, 5 system, 60 idle, 15 waiting
        stat.write_text("cpu  120 0 105 760 115 0 0 0 0 0\ncpu0 1 1\n")

    monkeypatch.setattr(hardware.time, "sleep", later)
    assert hardware.busy_share() == pytest.approx(0.25)
    assert hardware.busy_share() is None  # no tick has passed
    monkeypatch.setattr(hardware, "CPU_TIMES", tmp_path / "none")
    assert hardware.busy_share() is None
