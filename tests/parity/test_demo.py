"""The demonstration's steps in a short form: what they find, and what they leave in the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from miniconv import demo, nn

pytest.importorskip("sklearn")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

from miniconv.demo import decomposition, digits, examples, filters, parity, pictures, predict  # noqa: E402


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture)


def test_parity_reports_its_counts() -> None:
    figures = {figure.what: figure for figure in parity.run(cases=40)}
    assert figures["cases"].value == "40"
    assert figures["installed torch"].value == torch.__version__
    counted = ("equal", "within the bound of rounding", "differences known beforehand", "wrong")
    assert sum(int(figures[name].value) for name in counted) == 40


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, examples.Examples]:
    out = tmp_path_factory.mktemp("examples")
    return out, examples.run(out)


def test_examples_equal_torchs(shown, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = shown
    assert all(figure.right for figure in found.figures)
    assert [len(panels) for panels in found.panels] == [6, 6]


def test_the_pictures_of_the_dark_lines(shown) -> None:
    out, _ = shown
    # what torchvision's ToPILImage does to a float tensor
    expected = torch.from_numpy(examples.LINES).mul(255).byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(out / "original.png"), expected)
    assert pixels(out / "original.png")[2, 1, 0] == 25 * 255 % 256 == 231
    sums = np.array([[27, 28, 23], [220, 220, 224], [16, 16, 28]])
    assert np.array_equal(pixels(out / "convoluted.png"), sums * 255 % 256)
    large = pixels(out / "convoluted-readable.png")
    assert large.shape == (300, 300)
    assert (large[150, 299], large[299, 0]) == (255, 0)


def test_the_pictures_of_the_layer(shown) -> None:
    out, _ = shown
    torch.manual_seed(0)
    with torch.no_grad():
        result = nn.Conv2d(3, 3, 3)(torch.from_numpy(examples.LAYER_INPUT))
    assert np.array_equal(pixels(out / "layer-convoluted.png"), result.mul(255).byte().permute(1, 2, 0).numpy())
    assert examples.LAYER_INPUT[:, 3].tolist() == [[5] * 5, [155] * 5, [0] * 5]
    assert pixels(out / "layer-original-readable.png").shape == (300, 300, 3)
    assert pixels(out / "layer-photo-convoluted.png").shape == (425, 638, 3)
    assert pixels(out / "photo-convoluted.png").shape == (425, 638)


def test_bytes_wrap_as_torchs_do() -> None:
    x = torch.randn(3, 20, 31, generator=torch.Generator().manual_seed(1)) * 300
    assert np.array_equal(pictures.as_bytes(x.numpy()), x.mul(255).byte().permute(1, 2, 0).numpy())
    assert pictures.as_bytes(np.array([[[3, 255, 256]]])).tolist() == [[3, 255, 0]]
    assert pictures.readable(np.array([[[-5.0, 5.0]]])).tolist() == [[0, 255]]
    assert pictures.readable(np.full((1, 1, 2), 7.0)).tolist() == [[0, 0]]


def test_smoothing_keeps_a_plain_surface_and_edges_leave_it_black() -> None:
    plain = np.full((3, 12, 15), 0.5, np.float32)
    for kernel in filters.SMOOTH.values():
        assert kernel.sum() == pytest.approx(1)
        assert np.allclose(filters.smooth(plain, kernel)[:, 4:-4, 4:-4], 0.5, rtol=1e-6)
    for kernels in filters.EDGES.values():
        assert np.abs(filters.edge(plain[:1], kernels)).max() < 1e-6


def test_sobel_measures_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32), (1, 7, 9))
    assert np.all(filters.edge(ramp, filters.EDGES["Sobel, both directions"]) == 8)
    assert np.all(filters.edge(ramp, filters.EDGES["Prewitt, both directions"]) == 6)
    assert np.all(filters.edge(ramp, filters.EDGES["Laplacian"]) == 0)


def test_border_modes_differ_at_the_border_alone() -> None:
    picture = np.random.default_rng(2).random((3, 16, 21), dtype=np.float32)
    results = filters.border_modes(picture, 5)
    assert list(results) == ["zeros", "reflect", "replicate", "circular"]
    first = results.pop("zeros")
    for result in results.values():
        assert np.allclose(result[:, 2:-2, 2:-2], first[:, 2:-2, 2:-2], rtol=1e-5)
        assert np.abs(result - first)[:, 0].max() > 0.05


def test_the_contact_sheet(shown, tmp_path: Path) -> None:
    figures = filters.run(tmp_path, shown[1].panels)
    assert all(figure.right for figure in figures)
    height, width = pixels(tmp_path / "contact-sheet.png").shape[:2]
    assert min(height, width) > 1000


def test_decomposition_prints_equal_sums(capsys: pytest.CaptureFixture[str]) -> None:
    assert decomposition.run() == [
        demo.Figure("sum of single-channel convolutions equals the layer", "yes", right=True)
    ]
    lines = [line for line in capsys.readouterr().out.splitlines() if " + " in line and "=" in line and "[[" in line]
    assert len(lines) == 3
    for line in lines:
        left, right, total = (
            np.array([float(word) for word in part.strip(" []").split()]) for part in line.replace("=", "+").split("+")
        )
        assert np.array_equal(left + right, total)


def test_training_and_reading_again_without_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = digits.run(tmp_path, epochs=2)
    figures = {figure.what: figure for figure in trained.figures}
    assert figures["largest difference of any weight at the end"].right
    assert {"test accuracy, miniconv.nn", "test accuracy, torch.nn"} <= set(figures)
    assert pixels(tmp_path / "training.png").ndim == 3
    with np.load(tmp_path / "digits-weights.npz") as weights:
        assert weights["conv2.weight"].shape == (16, 8, 3, 3)
        again = predict.classify(dict(weights), trained.test_images)
    assert np.array_equal(again, trained.predictions)

    found = {
        figure.what: figure for figure in predict.run(tmp_path, trained.test_images, trained.predictions, passes=1)
    }
    assert found["processes without torch"].value == "4 of 4"
    assert found["predictions equal to torch's"].value == "450 of 450"
    assert all(figure.right for figure in found.values())
    assert "ModuleNotFoundError: torch is forbidden in this process" in capsys.readouterr().out


def test_both_networks_start_alike() -> None:
    nets = []
    for kind in (nn, torch.nn):
        torch.manual_seed(digits.SEED)
        nets.append(digits.DigitNet(kind).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(net.values() for net in nets)))


def test_a_child_that_fails_is_heard(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)the child process failed:.*digits-weights"):
        predict.run(tmp_path, np.zeros((1, 1, 8, 8), np.float32), np.zeros(1))


def test_main_runs_every_step_in_order(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    ran = []

    def stub(name, answer):
        return lambda *arguments: ran.append(name) or answer

    line = [demo.Figure("a", "b")]
    monkeypatch.setattr(parity, "run", stub("parity", line))
    monkeypatch.setattr(examples, "run", stub("examples", examples.Examples(line, [])))
    monkeypatch.setattr(filters, "run", stub("filters", line))
    monkeypatch.setattr(decomposition, "run", stub("decomposition", line))
    monkeypatch.setattr(digits, "run", stub("digits", digits.Training(line, np.zeros(1), np.zeros(1))))
    monkeypatch.setattr(predict, "run", stub("predict", [demo.Figure("a", "b", right=False)]))
    assert demo.main(tmp_path / "new" / "folder") == 1
    assert ran == ["parity", "examples", "filters", "decomposition", "digits", "predict"]
    assert (tmp_path / "new" / "folder").is_dir()
    assert "5. The same digits without torch" in capsys.readouterr().out
