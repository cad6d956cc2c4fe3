"""What the server and the client change, or lose, of what is sent through them; docs/architecture.md lists it."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import numpy as np

from onebreath.wire.connection import parse_header
from tests.conftest import REPOSITORY
from tests.gadgetron.malformed import EXTERNAL, GOOD
from tests.gadgetron.real import serving
from tests.gadgetron.targets import FOLDER, META, known_image
from tests.storage.standin import StandIn

NODE = '<external><execute name="tests.gadgetron.targets" target="record" type="python"/><configuration/></external>'


def test_what_the_server_and_the_client_change(prefix: Path, storage: StandIn, siemens: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.xml"
    path.write_text(GOOD.replace(EXTERNAL, NODE), encoding="utf-8")
    variables = {FOLDER: str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    with serving(prefix, tmp_path / "server", storage.url, **variables) as server:
        ran = server.run(siemens, str(path), tmp_path / "out.h5", local=True)
    assert (ran.status, ran.errors) == (0, [])
    with ismrmrd.Dataset(str(siemens), create_if_needed=False) as source:
        sent = source.read_xml_header()
        lines = [source.read_acquisition(number) for number in range(source.number_of_acquisitions())]
    came = (tmp_path / "header.xml").read_bytes()
    assert came != sent
    assert b"0.793000" in sent
    assert b"0.792999983" in came
    assert parse_header(came) == parse_header(sent), "the same facts, in single precision"
    assert (tmp_path / "heads").read_bytes() == b"".join(bytes(line.getHead()) for line in lines)
    assert (tmp_path / "data").read_bytes() == b"".join(line.data.tobytes() for line in lines)
    (image,) = ran.images[7]
    want, have = known_image().getHead(), image.getHead()
    changed = {name for name, *_ in want._fields_ if np.any(np.asarray(getattr(want, name)) != getattr(have, name))}
    assert changed == {"attribute_string_len"}
    np.testing.assert_array_equal(image.data, known_image().data)
    found = dict(image.meta)
    assert {name: text for name, text in found.items() if text != META[name]} == {"Empty": None}
    assert set(found) == set(META)
