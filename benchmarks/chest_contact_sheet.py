"""Contact sheet of the chest phantoms, one tile a finding with its boxes; makes docs/chest_phantoms.png.

.venv/bin/python benchmarks/chest_contact_sheet.py
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthmed.data.phantoms.chest_findings import ChestSettings, draw, plans
from synthmed.data.phantoms.pathology import KINDS

SIDE = 200
COLUMNS = 7
MARGIN = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--difficulty", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--size", type=int, default=400, help="pixels of a film before it is reduced to a tile")
    parser.add_argument("--pixels", type=int, default=None, help="show films reduced to this many pixels first")
    parser.add_argument("--without-boxes", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("docs/chest_phantoms.png"))
    options = parser.parse_args()
    settings = ChestSettings(
        normal=2,
        findings=dict.fromkeys(KINDS, 1),
        several_share=0.0,
        repeat_share=0.0,
        minor_share=0.0,
        ap_share=0.0,
        other_manufacturer_share=0.0,
        device_share=0.0,
        device_labelled_share=0.0,
        monochrome1_share=0.0,
        compressed_share=0.0,
        missing_tag_share=0.0,
        marker_share=0.5,
        burnt_text_share=0.0,
        collimated_share=0.0,
        malformed=0,
        difficulty=options.difficulty,
        image_size=options.size,
        seed=options.seed,
        workers=1,
    )
    films = {}
    for plan in plans(settings):
        films.setdefault(plan.findings[0] if plan.findings else "normal", []).append(draw(settings, plan, []))
    shown = [(kind, film) for kind in ("normal", *KINDS) for film in films[kind]]
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (SIDE + 2), rows * (SIDE + MARGIN)), 255)
    canvas = ImageDraw.Draw(sheet)
    for number, (kind, film) in enumerate(shown):
        # As the preparation shows it: the 99th percentile is white.
        white = np.percentile(film.pixels, 99)
        grey = Image.fromarray(np.minimum(film.pixels * (255 / white), 255).astype(np.uint8))
        if options.pixels is not None:
            grey = grey.resize((options.pixels, options.pixels), Image.Resampling.LANCZOS)
        height, width = film.pixels.shape
        scale = SIDE / max(height, width)
        how = Image.Resampling.LANCZOS if options.pixels is None else Image.Resampling.NEAREST
        tile = grey.resize((round(width * scale), round(height * scale)), how)
        row, column = divmod(number, COLUMNS)
        left, top = column * (SIDE + 2), row * (SIDE + MARGIN)
        corner = left + (SIDE - tile.width) // 2, top + MARGIN + (SIDE - tile.height) // 2
        sheet.paste(tile, corner)
        for finding in () if options.without_boxes else film.findings:
            canvas.rectangle([scale * edge + corner[side % 2] for side, edge in enumerate(finding.box)], outline=235)
        canvas.text((left + 2, top + 2), kind, fill=0, font=ImageFont.load_default(10))
    sheet.save(options.output, optimize=True)


if __name__ == "__main__":
    main()
