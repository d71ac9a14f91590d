import pytest
import torch

from synthmed.augment.classic import ClassicAugmentation, classic_augment, transform
from synthmed.augment.diffaugment import color, cutout, diff_augment, translation

ALL = ("color", "translation", "cutout")


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, channels=1, size=16):
    return torch.rand(count, channels, size, size, generator=rng(9)) * 2 - 1


def test_empty_policy_returns_the_images_and_draws_nothing():
    generator = rng()
    before = generator.get_state().clone()
    given = images()
    assert diff_augment(given, (), generator) is given
    assert torch.equal(generator.get_state(), before)


def test_policy_repeats_with_its_generator_and_changes_with_the_seed():
    given = images()
    assert torch.equal(diff_augment(given, ALL, rng(1)), diff_augment(given, ALL, rng(1)))
    assert not torch.equal(diff_augment(given, ALL, rng(1)), diff_augment(given, ALL, rng(2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_policy_is_differentiable(channels):
    given = images(2, channels, 8).double().requires_grad_()
    step, weights = torch.randn(2, *given.shape, dtype=torch.float64, generator=rng(2))
    made = diff_augment(given, ALL, rng(3))
    (gradient,) = torch.autograd.grad((made * weights).sum(), given)
    # For a fixed draw the policy is affine in the pixels, so a finite step must agree with the gradient exactly.
    moved = diff_augment(given.detach() + step, ALL, rng(3))
    assert ((moved - made) * weights).sum().item() == pytest.approx((gradient * step).sum().item(), rel=1e-9)
    assert gradient.abs().sum() > 0


def test_the_policy_is_the_one_of_the_paper():
    """Zhao et al. 2020, section 4.1 and their code, image by image, on the same draws."""
    given, generator = images(6, channels=3), rng(8)
    made = diff_augment(given, ALL, rng(8))
    brightness, saturation, contrast = (torch.rand(6, 1, 1, 1, generator=generator).flatten() for _ in range(3))
    down, right = (torch.randint(0, 5, (6,), generator=generator) for _ in range(2))  # up to 16 / 8 px either way
    rows, columns = (torch.randint(0, 16, (6, 1), generator=generator).flatten() for _ in range(2))
    for number, image in enumerate(given):
        image = image + (brightness[number] - 0.5)
        grey = image.mean(dim=0)
        image = grey + (image - grey) * 2 * saturation[number]
        image = image.mean() + (image - image.mean()) * (0.5 + contrast[number])
        moved = torch.zeros(3, 16, 16)
        for y in range(16):
            for x in range(16):
                from_y, from_x = y + int(down[number]) - 2, x + int(right[number]) - 2
                if 0 <= from_y < 16 and 0 <= from_x < 16:
                    moved[:, y, x] = image[:, from_y, from_x]
        top, left = int(rows[number]) - 4, int(columns[number]) - 4
        moved[:, max(0, top) : top + 8, max(0, left) : left + 8] = 0
        assert torch.allclose(made[number], moved, atol=1e-5), number


def test_color_of_a_grey_image_is_contrast_and_brightness_per_image():
    given = images()
    made = color(given, rng(4))
    centred_given = given - given.mean(dim=(1, 2, 3), keepdim=True)
    centred_made = made - made.mean(dim=(1, 2, 3), keepdim=True)
    factor = (centred_made * centred_given).sum(dim=(1, 2, 3)) / centred_given.square().sum(dim=(1, 2, 3))
    assert torch.allclose(centred_made, factor.view(-1, 1, 1, 1) * centred_given, atol=1e-5)
    assert ((factor >= 0.5) & (factor <= 1.5)).all()
    assert factor.std() > 0.05
    shift = (made - given).mean(dim=(1, 2, 3))
    assert (shift.abs() <= 0.5).all()
    assert shift.std() > 0.05


def test_translation_moves_whole_images_by_at_most_an_eighth():
    given = torch.zeros(64, 1, 16, 16)
    given[:, 0, 8, 8] = 1
    made = translation(given, rng(5))
    places = made.flatten(1).argmax(dim=1)
    rows, columns = places // 16 - 8, places % 16 - 8
    assert (made.sum(dim=(1, 2, 3)) == 1).all()
    assert set(rows.tolist()) == set(columns.tolist()) == {-2, -1, 0, 1, 2}


def test_cutout_zeroes_one_square_of_half_the_side():
    made = cutout(torch.ones(200, 2, 16, 16), rng(6))
    assert torch.equal(made[:, 0], made[:, 1])
    missing = (made[:, 0] == 0).sum(dim=(1, 2))
    assert missing.max() == 64
    assert missing.min() >= 16  # a corner square keeps a quarter inside
    assert missing.float().mean() < 64


def quarter_turn(given, degrees):
    count = len(given)
    return transform(
        given, torch.zeros(count, dtype=torch.bool), torch.full((count,), degrees), torch.ones(count), "black"
    )


def test_rotation_is_counter_clockwise_as_seen():
    given = images(3)
    assert torch.allclose(quarter_turn(given, 90.0), torch.rot90(given, 1, dims=(2, 3)), atol=1e-5)
    assert torch.allclose(quarter_turn(given, -90.0), torch.rot90(given, -1, dims=(2, 3)), atol=1e-5)
    assert torch.allclose(quarter_turn(given, 0.0), given, atol=1e-5)


def test_rotation_keeps_angles_in_images_that_are_not_square():
    given = torch.full((1, 1, 33, 65), -1.0)
    given[0, 0, 16, 32 + 10] = 1  # 10 px right of the centre
    made = quarter_turn(given, 90.0)
    assert divmod(int(made.argmax()), 65) == (16 - 10, 32)  # 10 px above it


def test_flip_comes_before_the_rotation():
    given = images(1)
    made = transform(given, torch.tensor([True]), torch.tensor([90.0]), torch.ones(1), "black")
    assert torch.allclose(made, torch.rot90(given.flip(3), 1, dims=(2, 3)), atol=1e-5)


def test_zoom_above_one_enlarges():
    given = torch.full((1, 1, 33, 33), -1.0)
    given[0, 0, 16, 16 + 8] = 1
    made = transform(given, torch.tensor([False]), torch.zeros(1), torch.tensor([1.5]), "black")
    assert divmod(int(made.argmax()), 33) == (16, 16 + 12)


def test_outside_is_black_or_the_reflection():
    given = torch.ones(1, 1, 16, 16)
    half = torch.tensor([0.5])
    black = transform(given, torch.tensor([False]), torch.zeros(1), half, "black")
    assert black[0, 0, 0, 0] == -1
    assert black[0, 0, 8, 8] == pytest.approx(1.0)
    ramp = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
    mirrored = transform(ramp, torch.tensor([False]), torch.zeros(1), half, "reflection")[0, 0, 8]
    small = ramp[0, 0, 0].view(8, 2).mean(1)  # of half the size, and its mirror image on both sides
    assert torch.allclose(mirrored, torch.cat([small[:4].flip(0), small, small[4:].flip(0)]), atol=1e-5)


def test_angles_and_sizes_are_drawn_from_the_whole_range(monkeypatch):
    drawn = []
    monkeypatch.setattr("synthmed.augment.classic.transform", lambda images, *how: drawn.extend(how))
    settings = ClassicAugmentation(horizontal_flip=True, rotation=36.0, zoom=0.1, padding="black")
    classic_augment(images(400, size=2), settings, rng(3))
    flip, angle, zoom, padding = drawn
    assert 160 < int(flip.sum()) < 240
    for values, middle, reach in ((angle, 0.0, 36.0), (zoom, 1.0, 0.1)):
        assert float((values - middle).abs().max()) <= reach + 1e-6
        # Uniform: a tenth of them in each tenth of the range.
        tenths = torch.histc(values, 10, middle - reach, middle + reach)
        assert tenths.min() > 20
        assert tenths.max() < 65
    assert padding == "black"


def test_classic_augmentation_repeats_with_its_generator_and_stays_in_range():
    settings = ClassicAugmentation(horizontal_flip=True, rotation=36.0, zoom=0.1, padding="reflection")
    given = images(8)
    made = classic_augment(given, settings, rng(7))
    assert made.shape == given.shape
    assert torch.equal(made, classic_augment(given, settings, rng(7)))
    assert not torch.equal(made, classic_augment(given, settings, rng(8)))
    assert made.abs().max() <= 1 + 1e-5


def test_classic_augmentation_with_everything_off_is_the_identity():
    settings = ClassicAugmentation(horizontal_flip=False, rotation=0.0, zoom=0.0, padding="black")
    assert torch.allclose(classic_augment(images(), settings, rng()), images(), atol=1e-5)


def test_half_of_the_images_are_mirrored():
    settings = ClassicAugmentation(horizontal_flip=True, rotation=0.0, zoom=0.0, padding="black")
    given = images(200, size=8)
    made = classic_augment(given, settings, rng(1))
    mirrored = [torch.allclose(a, b.flip(2), atol=1e-5) for a, b in zip(made, given, strict=True)]
    kept = [torch.allclose(a, b, atol=1e-5) for a, b in zip(made, given, strict=True)]
    assert sum(mirrored) + sum(kept) == 200
    assert 70 < sum(mirrored) < 130
