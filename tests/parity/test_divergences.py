"""The catalogue of torch's disagreements is true: every example does in this torch what its entry says."""

from __future__ import annotations

import re
import warnings

import pytest

torch = pytest.importorskip("torch")

from miniconv.parity.cases import Case  # noqa: E402
from miniconv.parity.divergences import catalogue, facts  # noqa: E402
from miniconv.parity.runner import judge, observe  # noqa: E402
from miniconv.parity.targets import TORCH, Target  # noqa: E402
from miniconv.parity.verdict import VERDICTS  # noqa: E402

EXAMPLES = [
    pytest.param(entry, text, does, id=f"{entry.id}-{number}")
    for entry in catalogue()
    for number, (text, does) in enumerate(entry.examples)
]


@pytest.fixture(autouse=True)
def _torch_may_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("entry", "text", "does"), EXAMPLES)
def test_torch_does_what_the_entry_says(entry, text, does):
    if not torch.__version__.startswith(entry.versions):
        pytest.skip(f"measured with torch {', '.join(entry.versions)}")
    verdict = observe(Case.parse(text))
    seen = f"{verdict.name} {verdict.detail}".strip()
    assert re.fullmatch(does, seen), seen


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.id)
def test_an_entry_is_complete(entry):
    assert entry.ours
    assert entry.reason
    assert entry.source
    assert set(entry.when) <= set(facts(Case.parse("conv2d c4 o6 i7x9 k3x2")))
    assert {behaviour.verdict for behaviour in (*entry.torch, *entry.accepted)} <= set(VERDICTS)
    assert entry.speaks_for(Case.parse(entry.examples[0][0]))


def test_an_entry_excuses_torch_and_nobody_else():
    case = Case.parse("conv2d n1 c4 o6 i7x9 k3x2 complex32")
    as_torch = Target(torch.nn.functional.conv2d)
    assert judge(case, TORCH).name == "EXPLAINED"
    assert judge(case, as_torch).name == "WRONG_VALUE"


def test_an_unexplained_failure_of_torch_fails(monkeypatch):
    monkeypatch.setattr("miniconv.parity.divergences.catalogue", lambda: ())
    verdict = judge(Case.parse("conv2d n1 c4 o6 i7x9 k3x2 complex32"), TORCH)
    assert verdict.name == "TORCH_UNEXPLAINED"
    assert not verdict.passed
