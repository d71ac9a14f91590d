"""The batched head against a torch module on real feature maps, and its independence of what is trained beside it."""

import numpy as np
import pytest
import torch
from textbook import Adam
from torch import nn

from synthmed.classifiers import frozen_backbone
from synthmed.classifiers.frozen_backbone import Head, Schedule, train_heads
from synthmed.core.errors import InputError
from synthmed.metrics.classification import auroc

CHANNELS, MAP = 6, 5


@pytest.fixture(scope="module")
def maps():
    """Feature maps (N, D, h, w) whose channels 0 and 1 carry the class, and the classes (N,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    values = rng.normal(0.5, 1.0, (120, CHANNELS, MAP, MAP)) * rng.uniform(0.2, 3, (CHANNELS, 1, 1))
    values[:, 0] += 0.4 * labels[:, None, None]
    values[:, 1] -= 0.3 * (labels == 1)[:, None, None]
    return torch.from_numpy(np.maximum(values, 0)).float(), labels


def pooled(maps):
    return maps.mean((2, 3)).numpy(), maps.square().mean((2, 3)).numpy()


def head(labels, train, validation, seed=1, learning_rate=3e-3, dropout=0.4, class_weights=False):
    return Head(train, labels[train], validation, labels[validation], seed, learning_rate, dropout, class_weights)


@pytest.mark.parametrize("class_weights", [False, True])
def test_training_from_pooled_numbers_equals_training_from_maps(maps, class_weights):
    """BatchNorm2d -> average pooling -> dropout -> linear, autograd and Adam, on maps, with the same masks."""
    values, labels = maps
    one = head(labels, np.arange(80), np.arange(80, 120), class_weights=class_weights)
    weight = torch.from_numpy(80 / (3 * np.bincount(labels[:80]))).float() if class_weights else torch.ones(3)
    schedule = Schedule(steps=30, batch_size=16, check_every=30)
    ours = train_heads(*pooled(values), [one], schedule, classes=3, positive=2, threads=1)

    norm = nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=0.01)  # Keras' defaults
    norm.running_var.zero_()
    dense = nn.Linear(CHANNELS, 3)
    initial = torch.from_numpy(frozen_backbone._initial(one, 3, CHANNELS))
    with torch.no_grad():
        dense.weight.copy_(initial[2:])
        dense.bias.zero_()
    parameters = [*norm.parameters(), *dense.parameters()]
    adam = Adam(one.learning_rate, (0.9, 0.999), epsilon=1e-7)
    order = frozen_backbone._order(one, schedule)
    masks = frozen_backbone._Dropout([one], 16, CHANNELS)
    for step in range(30):
        rows = one.rows[order[step]]
        dropped = norm(values[rows]).mean((2, 3)) * masks.keep(step)[0] * masks.scale[0]
        each = nn.functional.cross_entropy(dense(dropped), torch.from_numpy(labels[rows]), reduction="none")
        loss = (each * weight[labels[rows]]).mean()
        moved = adam.moved(parameters, list(torch.autograd.grad(loss, parameters)))
        for parameter, value in zip(parameters, moved, strict=True):
            parameter.data = value
    # torch counts a batch's variance with n - 1 and starts the average at zero; both are known factors.
    numbers = 16 * MAP * MAP
    norm.running_mean /= 1 - 0.99**30
    norm.running_var *= (numbers - 1) / numbers / (1 - 0.99**30)
    norm.eval()
    with torch.no_grad():
        expected = dense(norm(values).mean((2, 3))).softmax(1).numpy()
    np.testing.assert_allclose(ours.probabilities(pooled(values)[0])[0], expected, atol=2e-5)
    moved = np.abs(ours.probabilities(pooled(values)[0])[0] - 1 / 3).max()
    assert moved > 0.2, "nothing was learnt, so the comparison would prove nothing"


def test_a_head_does_not_depend_on_the_heads_beside_it(maps, monkeypatch):
    values, labels = maps
    features, squares = pooled(values)
    rng = np.random.default_rng(5)
    heads = [
        head(labels, rng.integers(0, 80, 40 + 7 * n), np.arange(80, 100 + n), n, 1e-3 * (n + 1), 0.1 * n)
        for n in range(7)
    ]
    schedule = Schedule(20, 8, 5)
    together = train_heads(features, squares, heads, schedule, classes=3, positive=1, threads=1)
    monkeypatch.setattr(frozen_backbone, "_CHUNK_NUMBERS", 3 * 8 * CHANNELS)
    in_threes = train_heads(features, squares, heads[::-1], schedule, classes=3, positive=1, threads=2)
    for number in range(7):
        alone = train_heads(features, squares, [heads[number]], schedule, classes=3, positive=1, threads=1)
        for name in ("weight", "bias", "step", "loss", "accuracy", "auroc"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[number], err_msg=name)
            np.testing.assert_array_equal(getattr(in_threes, name)[6 - number], getattr(together, name)[number])


def test_the_seed_matters_and_nothing_else_is_random(maps):
    values, labels = maps
    heads = [head(labels, np.arange(80), np.arange(80, 120), seed) for seed in (1, 1, 2)]
    trained = train_heads(*pooled(values), heads, Schedule(10, 16, 5), classes=3, positive=1, threads=1)
    np.testing.assert_array_equal(trained.weight[0], trained.weight[1])
    assert np.abs(trained.weight[0] - trained.weight[2]).max() > 0.01


def test_selection_takes_the_lowest_validation_loss_and_tracks_true_values(maps):
    values, labels = maps
    features, squares = pooled(values)
    check = np.arange(80, 120)
    schedule = Schedule(60, 8, 7)
    trained = train_heads(
        features,
        squares,
        [head(labels, np.arange(30), check, 3, 0.05, 0.0)],
        schedule,
        classes=3,
        positive=2,
        threads=1,
    )
    assert schedule.checks == [7, 14, 21, 28, 35, 42, 49, 56, 60] == trained.checks.tolist()
    assert trained.step[0] == trained.checks[trained.loss[0].argmin()]
    assert trained.step[0] < 60, "thirty images at this rate are overfitted, so an earlier step must win"
    p = trained.probabilities(features[check])[0]
    truth = labels[check]
    own = np.log(p[np.arange(40), truth])
    loss = -np.mean([own[truth == k].mean() for k in range(3)])
    accuracy = np.mean([(p.argmax(1) == truth)[truth == k].mean() for k in range(3)])
    assert trained.selected(trained.loss)[0] == pytest.approx(loss, rel=1e-5)
    assert trained.selected(trained.accuracy)[0] == pytest.approx(accuracy)
    assert trained.selected(trained.auroc)[0] == pytest.approx(auroc(p[:, 2], truth == 2))


def test_of_equal_checkpoints_the_earliest_is_kept():
    nothing, labels = np.zeros((8, CHANNELS), np.float32), np.arange(8) % 2
    still = head(labels, np.arange(8), np.arange(8), learning_rate=1e-30)
    trained = train_heads(nothing, nothing, [still], Schedule(6, 4, 2), classes=2, positive=1, threads=1)
    assert trained.loss[0].tolist() == [pytest.approx(np.log(2))] * 3
    assert trained.step[0] == 2


def test_validation_counts_tied_scores_half():
    features = torch.tensor([[0.0], [1.0], [1.0], [2.0]])
    rows, labels = np.arange(4), np.array([0, 0, 1, 1])
    one = Head(rows, labels, rows, labels, 0, 1e-3, 0.0)
    other = Head(rows, labels, rows, labels[::-1].copy(), 0, 1e-3, 0.0)
    validation = frozen_backbone._Validation(features, [one, other], 2, 1)
    weight, bias = torch.tensor([[[0.0], [1.0]]] * 2), torch.zeros(2, 2)
    _, _, area = validation.scores(weight, bias)
    assert area.tolist() == [3.5 / 4, 0.5 / 4]


def test_dropout_keeps_its_share_and_its_expectation():
    heads = [Head(None, None, None, None, seed, 1e-3, rate) for seed, rate in enumerate((0.0, 0.3, 0.5))]
    dropout = frozen_backbone._Dropout(heads, 16, 33)
    kept = torch.stack([dropout.keep(step).clone() for step in range(64)])
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    share = kept.mean((0, 2, 3))
    assert share[0] == 1
    np.testing.assert_allclose(share, [1, 0.7, 0.5], atol=0.01)
    np.testing.assert_allclose(share * dropout.scale[:, 0], 1, atol=0.01)


def test_batches_are_full_and_go_through_the_whole_set():
    one = Head(np.arange(10), np.zeros(10), None, None, 4, 1e-3, 0.0)
    order = frozen_backbone._order(one, Schedule(steps=5, batch_size=4, check_every=5))
    assert order.shape == (5, 4)
    for epoch in order.reshape(2, 10):
        assert sorted(epoch) == list(range(10))
    assert order.reshape(2, 10)[0].tolist() != order.reshape(2, 10)[1].tolist()


def test_unusable_input_is_refused(maps):
    values, labels = maps
    features, squares = pooled(values)
    check, schedule = np.arange(80, 120), Schedule(4, 8, 2)
    with pytest.raises(InputError, match="no training image"):
        train_heads(features, squares, [head(labels, np.arange(0), check)], schedule, classes=3, positive=1, threads=1)
    only = np.flatnonzero(labels == 1)
    with pytest.raises(InputError, match="validation images show 1 of 3"):
        train_heads(features, squares, [head(labels, np.arange(9), only)], schedule, classes=3, positive=1, threads=1)
    with pytest.raises(InputError, match=r"dropout 0\.9985 \(setting dropouts\) must be in \[0, 0\.998\)"):
        train_heads(
            features,
            squares,
            [head(labels, np.arange(9), check, dropout=0.9985)],
            schedule,
            classes=3,
            positive=1,
            threads=1,
        )
    with pytest.raises(InputError, match="diverged"):
        train_heads(
            features,
            squares,
            [head(labels, np.arange(9), check, learning_rate=1e38)],
            schedule,
            classes=3,
            positive=1,
            threads=1,
        )
