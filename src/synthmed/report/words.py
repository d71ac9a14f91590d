"""From measured numbers to words: the filters of all templates, and the one Jinja environment that renders them."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from synthmed.core.known import HARMS, HELPS, NO_EVIDENCE
from synthmed.metrics.estimate import Estimate


def joined(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; Markup where one of them is, so that nothing is escaped twice."""
    items = list(items)
    kind = Markup if any(isinstance(item, Markup) for item in items) else str
    return items[0] if len(items) == 1 else kind(" and ").join([kind(", ").join(items[:-1]), items[-1]])


def sizes_of_masks(sizes: Sequence[str]) -> str:
    """The sizes of the masks that are compared: `32×48`, `8×8 and 8×9`, `57 sizes of raw masks`."""
    return joined(sizes) if len(sizes) <= 2 else f"{len(sizes)} sizes of raw masks"


def counted(count: int, one: str, many: str) -> str:
    """`1 generator`, `3 generators`, `1,200 generators`."""
    return f"{count:,} {one if count == 1 else many}"


def percent(share: float) -> str:
    """`3.4 %`."""
    return f"{100 * share:.1f} %"


def minus(text: str) -> str:
    """Real minus signs for hyphens."""
    return text.replace("-", "−")


def short(value: float) -> str:
    """A number with the digits a reader can use: 4 significant ones, at most 3 decimals."""
    decimals = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return minus(f"{value:,.{decimals}f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}")


def signed(value: float) -> str:
    """`+0.012`, `−0.040`; never `−0.000`."""
    return minus(f"{round(value, 3) + 0.0:+.3f}")


def decimals(value: float) -> str:
    """`0.40`, `−0.04`; never `−0.00`."""
    return minus(f"{round(value, 2) + 0.0:.2f}")


def tenths(value: float) -> str:
    """Means of counts: one decimal, thousands apart."""
    return f"{value:,.1f}"


def p_value(value: float) -> str:
    """`< 0.001` or three decimals."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def artefact(name: str) -> str:
    """What lies on a photograph, a column or tag of the images, for people: `dark_corner` is a frame."""
    return "frame" if name == "dark_corner" else name.replace("_", " ")


def title_of(name: str, generators) -> str:
    """The title of the generator `name`."""
    return generators[name].title


def confidence(level: float) -> str:
    """`95 %`, of the level of an interval."""
    return f"{100 * level:g} %"


def interval(found: Estimate, level: float | None, form=short) -> str:
    """`0.812 (95 % interval 0.770 to 0.850)`, or the reason why there is no value. level: of the interval; None: said
    elsewhere."""
    if found.value is None:
        return f"not computed ({found.reason})"
    if found.low is None:
        return form(found.value)
    said = "" if level is None else f"{confidence(level)} interval "
    return f"{form(found.value)} ({said}{form(found.low)} to {form(found.high)})"


def environment(*, html: bool) -> jinja2.Environment:
    """Templates of this room, by their path in it. html: escape what is put in; False for captions and headings."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (title_of, joined, counted, percent, short, signed, decimals, tenths, p_value, confidence, interval)
    made.filters |= {filter.__name__: filter for filter in filters}
    made.globals |= {filter.__name__: filter for filter in filters}
    made.globals |= {"HELPS": HELPS, "NO_EVIDENCE": NO_EVIDENCE, "HARMS": HARMS}
    return made


def spoken(text: str, found: dict) -> str:
    """A caption or heading (a Jinja string) with what was found, on one line."""
    return " ".join(environment(html=False).from_string(text).render(found).split())
