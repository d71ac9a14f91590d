"""Feature extractors: name → module. Each module has `load(weights, input_size, precision, device) -> Extractor`."""

EXTRACTORS: dict[str, str] = {
    "inception": "synthmed.extractors.inception",
    "vgg16": "synthmed.extractors.vgg16",
    "efficientnet_lite0": "synthmed.extractors.efficientnet_lite",
    "domain": "synthmed.extractors.domain",
}
"""Every extractor that a setting can name. Modules are imported only when they are asked for."""
