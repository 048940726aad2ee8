import argparse
import sys

from infra.catalog.emit import ROOT, TARGET, load_overrides, rendered
from infra.catalog.genai import CatalogError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.catalog", description="Generate the model catalog.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the data is not current")
    check = parser.parse_args().check
    try:
        files = rendered(load_overrides())
    except CatalogError as error:
        print(f"catalog: {error}", file=sys.stderr)
        return 2
    stale = False
    for name, text in files.items():
        path = TARGET / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale = True
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
