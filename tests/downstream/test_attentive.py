"""The attentive probe: against NumPy, a pair as if it were alone, never by the test part."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from support.study import ROOT
from videossl.downstream import examples, tokens
from videossl.downstream.examples import Examples
from videossl.downstream.protocols import attentive
from videossl.job import Job, UserError
from videossl.models.attention import AttentiveClassifier
from videossl.study import params, reads, schema

SPEC = schema.Attentive(
    heads=2, rates=[1e-2, 1e-9], decays=[0.0, 0.5], epochs=40, batch_size=16, validation=0.25
)


def data(n: int = 90) -> tuple[np.ndarray, Examples]:
    """Tokens (N, 2, 4, 8): which of three signs one place shows, at any of four places."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = 0.3 * rng.normal(size=(n, 2, 4, 8))
    for number, label in enumerate(labels):
        for clip in range(2):
            x[number, clip, rng.integers(4), label] += 6
    parts = ["train" if k < 60 else "test" for k in range(n)]
    videos = [f"v{k}" for k in range(n)]
    return x.astype(np.float32), Examples(
        videos, labels.astype(np.int64), ["a", "b", "c"], {"1": parts}
    )


def job_of(folder: Path, x: np.ndarray, found: Examples, seed: int = 0) -> Job:
    folder.mkdir(exist_ok=True)
    with tokens.writing(folder, len(x), "k") as writer:
        writer.write(x)
    examples.write(found, {}, folder)
    out = folder / "out"
    out.mkdir()
    key = {"row": "r", "test": "t", "protocol": "attentive", "seed": str(seed), "split": "1"}
    inputs = {"features": (folder,), "examples": (folder,)}
    return Job("evaluate", key, inputs, out, folder / "s", 1, {})


def run(job: Job, spec: schema.Attentive = SPEC) -> dict[str, np.ndarray]:
    attentive.run(job, reads.EvaluateParams(protocol=spec))
    return dict(np.load(job.out / "predictions.npz"))


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def normed(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def test_the_network_is_that_of_the_formulas():
    torch.manual_seed(0)
    net = AttentiveClassifier(8, 2, 3).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    w = {name: p.detach().numpy() for name, p in net.named_parameters()}
    x = np.random.default_rng(1).normal(size=(5, 4, 8))
    rows = []
    for tokens_ in x:
        places = normed(tokens_) * w["token_norm.weight"] + w["token_norm.bias"]
        q, k, v = (
            y @ part.T + bias
            for y, part, bias in zip(
                (w["query"][0], places, places),
                np.split(w["attention.in_proj_weight"], 3),
                np.split(w["attention.in_proj_bias"], 3),
                strict=True,
            )
        )
        heads = []
        for own in (slice(0, 4), slice(4, 8)):
            scores = q[:, own] @ k[:, own].T / 2.0
            share = np.exp(scores) / np.exp(scores).sum()
            heads.append(share @ v[:, own])
        mixed = np.concatenate(heads, 1) @ w["attention.out_proj.weight"].T
        y = w["query"][0] + mixed + w["attention.out_proj.bias"]
        inner = normed(y) * w["norm.weight"] + w["norm.bias"]
        y = y + gelu(inner @ w["mlp.0.weight"].T + w["mlp.0.bias"]) @ w["mlp.2.weight"].T
        y = y + w["mlp.2.bias"]
        rows.append((y @ w["classifier.weight"].T + w["classifier.bias"])[0])
    np.testing.assert_allclose(net(torch.from_numpy(x)).detach().numpy(), rows, atol=1e-10)


def test_it_finds_a_sign_wherever_it_is_and_chooses_what_learns(tmp_path):
    found = run(job_of(tmp_path, *data()))
    assert found["value.top1"].mean() > 0.9
    assert found["examples"].tolist() == list(range(60, 90))
    assert found["grid"].shape == (4, 4)
    assert found["grid"][:, :2].tolist() == [[1e-2, 0.0], [1e-2, 0.5], [1e-9, 0.0], [1e-9, 0.5]]
    assert found["chosen"] < 2  # at a rate of 1e-9 nothing is learned


def test_a_pair_is_trained_as_if_it_were_alone():
    x, found = data()
    half, labels, numbers = x.astype(np.float16), found.targets, np.arange(60)
    together = attentive.fit(half, labels, numbers, SPEC, 3, 0)
    for k, (rate, decay) in enumerate(attentive.pairs(SPEC)):
        one = SPEC.model_copy(update={"rates": [rate], "decays": [decay]})
        (alone,) = attentive.fit(half, labels, numbers, one, 3, 0)
        for name, p in alone.state_dict().items():
            torch.testing.assert_close(together[k].state_dict()[name], p, rtol=1e-4, atol=1e-6)


def test_rates_fall_along_half_a_cosine_and_only_matrices_decay():
    x, found = data(24)
    half, labels, numbers = x.astype(np.float16), found.targets, np.arange(20)
    spec = SPEC.model_copy(update={"rates": [0.02], "decays": [2.0], "epochs": 3, "batch_size": 8})
    (trained,) = attentive.fit(half, labels, numbers, spec, 3, 0)
    torch.manual_seed(0)
    net = AttentiveClassifier(8, 2, 3)
    own = dict(net.named_parameters())
    matrices = ["attention.in_proj_weight", "attention.out_proj.weight"]
    matrices += ["mlp.0.weight", "mlp.2.weight", "classifier.weight"]
    groups = [
        {"params": [p for name, p in own.items() if name in matrices], "weight_decay": 2.0},
        {"params": [p for name, p in own.items() if name not in matrices], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    for step, (which, clip) in enumerate(attentive.draws(numbers, 2, spec, 0)):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 + math.cos(math.pi * step / 9)) / 2
        optimizer.zero_grad()
        places = torch.from_numpy(half[which, clip]).float()
        torch.nn.functional.cross_entropy(net(places), torch.from_numpy(labels[which])).backward()
        optimizer.step()
    for name, p in trained.named_parameters():
        torch.testing.assert_close(p, own[name], rtol=1e-3, atol=1e-5)


def test_what_it_chooses_does_not_know_the_test_part(tmp_path):
    x, found = data()
    first = run(job_of(tmp_path / "a", x, found))
    rng = np.random.default_rng(5)
    found.targets[60:] = rng.integers(3, size=30)
    second = run(job_of(tmp_path / "b", x, found))
    for name in ("scores", "grid", "chosen"):
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["labels"] != second["labels"]).any()


def test_what_trains_does_not_choose(tmp_path, monkeypatch):
    seen: dict[str, list[set[int]]] = {"fit": [], "predict": []}
    asked = []
    for name in seen:
        whole = getattr(attentive, name)

        def spy(first, second, numbers, *rest, name=name, whole=whole):
            seen[name].append({*numbers.tolist()})
            asked.append(first)
            return whole(first, second, numbers, *rest)

        monkeypatch.setattr(attentive, name, spy)
    spec = SPEC.model_copy(update={"rates": [1e-9, 1e-2], "epochs": 15})
    found = run(job_of(tmp_path, *data()), spec)
    assert found["chosen"] >= 2  # those before have learnt nothing
    assert asked[-1] is asked[1 + int(found["chosen"])]  # the first was asked to train
    (trained,) = seen["fit"]
    *chosen_by, tested = seen["predict"]
    assert len(chosen_by) == 4
    assert all(one == chosen_by[0] for one in chosen_by)
    assert not trained & chosen_by[0]
    assert trained | chosen_by[0] == set(range(60))
    assert len(chosen_by[0]) == 15  # a quarter of each class
    assert tested == set(range(60, 90))


def test_a_pair_is_judged_by_top1_and_then_by_how_likely_the_truth_was(monkeypatch):
    labels, numbers = np.array([9, 0, 1, 1, 2]), np.array([1, 2, 3, 4])
    scores = np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]])
    monkeypatch.setattr(attentive, "predict", lambda *_: scores)
    top1, likely = attentive._validate(torch.nn.Identity(), scores, labels, numbers, SPEC)
    assert top1 == 0.5
    own = [0.7, 0.25, 1.0, np.finfo(float).tiny]
    assert likely == pytest.approx(np.log(own).mean())
    scores[1, 2] = np.nan
    assert attentive._validate(torch.nn.Identity(), scores, labels, numbers, SPEC)[0] == -math.inf


def test_the_likelier_truth_decides_among_equal_top1_only(tmp_path, monkeypatch):
    scored = iter([(0.5, -1.0), (0.75, -3.0), (0.75, -2.0), (0.6, -0.1)])
    monkeypatch.setattr(attentive, "fit", lambda *_: list(range(4)))
    monkeypatch.setattr(attentive, "_validate", lambda *_: next(scored))
    monkeypatch.setattr(attentive, "predict", lambda *_: np.eye(30, 3))
    assert run(job_of(tmp_path, *data()))["chosen"] == 2


def test_an_epoch_takes_each_example_once_and_any_of_its_clips():
    numbers = np.array([3, 5, 8, 9, 20], np.int64)
    spec = SPEC.model_copy(update={"batch_size": 2, "epochs": 40})
    steps = list(attentive.draws(numbers, 3, spec, 7))
    assert len(steps) == 40 * 3
    for start in range(0, len(steps), 3):
        taken = np.concatenate([batch for batch, _ in steps[start : start + 3]])
        assert sorted(taken) == numbers.tolist()
    assert {*np.concatenate([clip for _, clip in steps]).tolist()} == {0, 1, 2}
    assert len({tuple(batch.tolist()) for batch, _ in steps}) > 5


def test_testing_averages_softmax_over_clips():
    x, _ = data(6)
    torch.manual_seed(0)
    net = AttentiveClassifier(8, 2, 3)
    half = x.astype(np.float16)
    scores = attentive.predict(net, half, np.array([0, 4]), 1)
    with torch.no_grad():
        rows = net(torch.from_numpy(half[[0, 4]]).float().flatten(0, 1)).softmax(-1)
    np.testing.assert_allclose(scores, rows.view(2, 2, 3).mean(1).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"heads": 3}, "probe.t.attentive.heads = 3: must divide the 8 channels of a token"),
        ({"rates": [1e30]}, "probe.t.attentive: every classifier diverged; add a lower rate"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, change, line):
    with pytest.raises(UserError, match=line):
        run(job_of(tmp_path, *data()), SPEC.model_copy(update=change))


def test_classes_of_one_example_leave_none_to_choose_by(tmp_path):
    x, found = data(6)
    found.parts["1"] = ["train"] * 3 + ["test"] * 3
    with pytest.raises(UserError, match=r"probe\.t\.attentive: no class has two training examples"):
        run(job_of(tmp_path, x[:6], found))


def test_it_needs_tokens(tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("tokens: true", "tokens: false"), encoding="utf-8")
    with pytest.raises(UserError, match=r"probe.synthetic.features.tokens = False: must be true"):
        params.load(path)
