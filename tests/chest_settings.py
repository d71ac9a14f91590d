"""Settings of small chest sets for the tests."""

from synthmed.data.phantoms.chest_findings import ChestSettings
from synthmed.data.phantoms.pathology import KINDS


def chest_settings(**changes) -> ChestSettings:
    values = {
        "normal": 8,
        "findings": dict.fromkeys(KINDS, 2),
        "several_share": 0.5,
        "repeat_share": 0.3,
        "minor_share": 0.1,
        "ap_share": 0.2,
        "other_manufacturer_share": 0.2,
        "device_share": 0.2,
        "device_labelled_share": 0.5,
        "monochrome1_share": 0.3,
        "compressed_share": 0.5,
        "missing_tag_share": 0.3,
        "marker_share": 0.3,
        "burnt_text_share": 0.2,
        "collimated_share": 0.2,
        "malformed": 4,
        "difficulty": 0.2,
        "image_size": 96,
        "seed": 6,
        "workers": 1,
    }
    return ChestSettings(**{**values, **changes})
