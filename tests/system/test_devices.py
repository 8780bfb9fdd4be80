"""Devices by name, on a machine that says it has two GPUs."""

import pytest
import torch

from biglearn_core.system.devices import choose_device


@pytest.mark.parametrize(
    ("name", "device"),
    [
        (None, "cuda:1"),
        ("auto", "cuda:1"),
        ("cuda", "cuda:1"),
        ("cuda:0", "cuda:0"),
        ("cpu", "cpu"),
    ],
)
def test_a_process_computes_on_its_current_gpu(monkeypatch, name, device):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device(name) == torch.device(device)


def test_what_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match="'cuda' is not there; there are: cpu;"):
        choose_device("cuda")
