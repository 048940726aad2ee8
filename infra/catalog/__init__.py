"""The generator of the model catalog: genai-prices plus `overrides.yaml` in, `shared/gemini/catalog_data/` out.

`python -m infra.catalog` writes the data, `python -m infra.catalog --check` only tells whether it is current. Nothing
that ships imports this package or genai-prices.
"""
