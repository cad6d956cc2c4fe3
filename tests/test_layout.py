"""The size of the house: files that can be read at one sitting, rooms that can be overlooked."""

import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gadgets" / "onebreath"
MOST_LINES, USUAL_LINES, MOST_FILES = 300, 120, 16


def lengths() -> dict[str, int]:
    paths = [path for folder in ("gadgets", "tests", "benchmarks", "docker") for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}


def test_no_file_is_long_and_most_are_short():
    found = lengths()
    assert not {name for name, count in found.items() if count > MOST_LINES}
    assert statistics.median(found.values()) <= USUAL_LINES


def test_no_room_holds_many_files():
    rooms = {path.parent for path in PACKAGE.rglob("*.py")}
    full = {str(room.relative_to(PACKAGE)) for room in rooms if len(list(room.glob("*.py"))) > MOST_FILES}
    assert not full
