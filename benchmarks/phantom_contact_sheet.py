"""Contact sheet of chest X-ray phantoms, normals above, tuberculosis below with its boxes; makes docs/phantoms.png.

.venv/bin/python benchmarks/phantom_contact_sheet.py
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from synthmed.data.phantoms.chest_xray import LABELS, PhantomSettings, draws

SIDE = 160
COLUMNS = 6
MARGIN = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--difficulty", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--output", type=Path, default=Path("docs/phantoms.png"))
    options = parser.parse_args()
    settings = PhantomSettings(
        normal=COLUMNS,
        abnormal=COLUMNS,
        seed=options.seed,
        difficulty=options.difficulty,
        image_size=256,
        device_share=0.15,
        text_share=0.5,
        black_border_share=0.5,
        palette_share=0.2,
    )
    labels = [label for label in LABELS for _column in range(COLUMNS)]
    sheet = Image.new("L", (COLUMNS * (SIDE + 2), 2 * (SIDE + MARGIN)), 255)
    draw = ImageDraw.Draw(sheet)
    for number, phantom in enumerate(draws(settings, options.seed, labels)):
        height, width = phantom.pixels.shape
        scale = SIDE / max(height, width)
        film = Image.fromarray(phantom.pixels).resize(
            (round(width * scale), round(height * scale)), Image.Resampling.LANCZOS
        )
        row, column = divmod(number, COLUMNS)
        left, top = column * (SIDE + 2), row * (SIDE + MARGIN)
        corner = left + (SIDE - film.width) // 2, top + MARGIN + (SIDE - film.height) // 2
        sheet.paste(film, corner)
        for finding in phantom.findings:
            box = [scale * edge + corner[side % 2] for side, edge in enumerate(finding.box)]
            draw.rectangle(box, outline=230)
        kinds = ", ".join(sorted({finding.kind for finding in phantom.findings}))
        draw.text(
            (left + 2, top + 3),
            f"TB: {kinds}" if kinds else phantom.label,
            fill=0,
            font=ImageFont.load_default(8),
        )
    sheet.save(options.output, optimize=True)


if __name__ == "__main__":
    main()
