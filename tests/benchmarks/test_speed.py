"""The benchmark of speed measures what it says, on workloads of a few muons."""

import json
from pathlib import Path

import pytest
import torch

from tests.benchmarks.speed import __main__ as command
from tests.benchmarks.speed import engine, timing
from tests.benchmarks.speed.cases import CASES, LOW_AND_VOXEL, Case, layout
from tests.benchmarks.speed.rounding import gradient_errors
from tomopt_tasks.store.opening import open_store

FEW = [Case(case.scene, 16 if case.scene == "ladle" else 2, 60) for case in CASES[1:]]


def test_arms_take_turns_and_the_first_call_is_not_timed() -> None:
    calls: list[str] = []

    def arm(name: str, took: float) -> timing.Arm:
        def call(number: int) -> timing.Took:
            calls.append(f"{name}{number}")
            return took * number, 1.0

        return call

    load = timing.Load(2, lambda: 1.0)
    times = timing.interleave({"a": arm("a", 2.0), "b": arm("b", 1.0)}, 2, load)
    assert calls == ["b0", "a0", "a1", "b1", "b2", "a2"]
    assert times["a"].cpu == [2.0, 4.0]
    assert timing.ratios(times["a"], times["b"]) == [2.0, 2.0]
    assert times["a"].per(1_000_000) == "3 (2-4)"


def test_no_ratio_is_quoted_from_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CASES", (Case("small", 2, 40),))
    monkeypatch.setattr(command, "ARMS", {"float64": (torch.float64, False)})
    loads = iter([1.0, 9.0])
    busy = timing.Load(2, lambda: next(loads, 1.0))
    assert {row["float64 over it"] for row in command.workloads(1, busy)} == {"not quoted"}
    assert "load up to 9.0 on 2 cores: too busy" in busy.say()
    idle = timing.Load(2, lambda: 1.0)
    assert all(row["float64 over it"] != "not quoted" for row in command.workloads(1, idle))


@pytest.mark.parametrize("case", FEW, ids=lambda case: case.name)
def test_every_workload_has_gradients_and_the_bank_changes_no_bit(
    case: Case, tmp_path: Path
) -> None:
    step = engine.Step(case)
    step(0)
    made = step.gradients()
    kinds = {name.rsplit(".", 1)[-1] for name in made}
    assert kinds >= {"xy", "z"}
    assert all(bool(torch.isfinite(gradient).all()) for gradient in made.values())
    assert sum(float(gradient.abs().sum()) for gradient in made.values()) > 0
    engine.BankedStep(step, open_store(tmp_path), 1)(0)
    for name, gradient in step.gradients().items():
        torch.testing.assert_close(gradient, made[name], rtol=0, atol=0)


def test_detectors_stay_where_they_are() -> None:
    step = engine.Step(FEW[0])
    before = [p.detach().clone() for p in step.wrapper.volume.parameters()]
    step(0)
    after = step.wrapper.volume.parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_layouts_give_the_layer_below_a_height() -> None:
    low, voxel = LOW_AND_VOXEL["small"]
    x0, _ = engine.scene_of("small")
    load = layout(x0[0], low, voxel)
    assert torch.equal(load(z=0.3), x0[0, 0])
    assert torch.equal(load(z=torch.tensor([0.8])), x0[0, 5])


def test_rounding_compares_equal_muons_and_noise() -> None:
    errors = gradient_errors(Case("small", 2, 500))
    assert set(errors) >= {"xy", "z", "xy_span"}
    assert all(0 < error < 0.2 for error in errors.values())


def test_the_command_prints_tables_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "CASES", (Case("small", 2, 40),))
    monkeypatch.setattr(command, "ARMS", {"float64": (torch.float64, False)})
    out = tmp_path / "b.json"
    monkeypatch.setattr("sys.argv", ["bench", "rounding", "--out", str(out)])
    command.main()
    assert "small 2x40" in capsys.readouterr().out
    assert json.loads(out.read_text())["rounding"]["rows"][0]["workload"] == "small 2x40"


def test_short_work_is_done_again_and_averaged(monkeypatch):
    now, numbers = [0.0], []

    def work(number):
        numbers.append(number)
        now[0] += 0.1

    monkeypatch.setattr(timing.time, "process_time", lambda: 2.0 * now[0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    assert timing.clocked(work, least=0.35)(2) == pytest.approx((0.2, 0.1))
    assert numbers == [2000, 2001, 2002, 2003]  # each sees other muons
    assert timing.clocked(work)(3) == pytest.approx((0.2, 0.1))
    assert numbers[4:] == [3000]
