"""Empty values in the meta of images stay empty, wherever images are read and written."""

from __future__ import annotations

import ast
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ImageArray

import onebreath
from onebreath.chain.claims import claims_apart
from onebreath.chain.gadget import parse_properties
from onebreath.chain.seals import Seals
from onebreath.errors import WireError
from onebreath.gadgets.export import Export
from onebreath.images.reading import read_series
from onebreath.wire.channel import Channel
from onebreath.wire.image_file import ImageFile
from onebreath.wire.xml_guard import read_meta
from tests.fuzz.tape import Tape
from tests.host.wiring import HEADER, encoded, image
from tests.scans import header

EMPTY = {"Onebreath_host_empty": "", "GADGETRON_ImageComment": "", "several": ["", "a", ""], "full": "None"}


def test_from_a_peer_to_a_file_and_back(tmp_path: Path) -> None:
    sent = image()
    sent.meta = dict(EMPTY)
    _, came = Channel(Tape(encoded(sent))).read()  # type: ignore[arg-type]
    assert came.meta == EMPTY
    (passed,) = claims_apart([came], Seals(HEADER))
    assert passed.meta["Onebreath_unsealed_host_empty"] == ""
    assert encoded(passed).count(b">None<") == 1
    with ImageFile(tmp_path / "images.h5", "group") as file:
        file.append(passed)
    with h5py.File(tmp_path / "images.h5") as stored:
        assert stored["group/image_1/attributes"][0].count(b">None<") == 1
    ((meta,),) = (series.metas for series in read_series(tmp_path / "images.h5"))
    assert meta["several"] == ["", "a", ""]
    assert meta["GADGETRON_ImageComment"] == ""


def test_of_an_array_that_is_exported() -> None:
    entries = {"GADGETRON_DataRole": "Image", "GADGETRON_SeqDescription": "", **EMPTY}
    space = {"encoding_FOV": ["6", "5", "8"], "recon_FOV": ["6", "5", "8"], "recon_matrix": ["6", "5", "1"]}
    headers = np.full((1, 1, 1), None)
    headers[0, 0, 0] = image().getHead()
    text = ismrmrd.Meta({**entries, **space}).serialize()
    array = ImageArray(np.ones((6, 5, 1, 1, 1, 1, 1), np.complex64), headers, [text])
    (passed,) = claims_apart([array], Seals(HEADER))
    gadget = Export(header(5, 6), parse_properties(Export, {"output": "phase"}))
    (made,) = gadget.process([passed])
    assert made.meta["several"] == ["", "a", ""]
    assert made.meta["GADGETRON_SeqDescription"] == "phase"
    assert made.attribute_string.count(">None<") == 1


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_text_is_no_meta(text: str) -> None:
    assert read_meta(text) == {}


def test_entries_without_a_name_are_read() -> None:
    assert read_meta("<ismrmrdMeta><meta><name/><value/></meta></ismrmrdMeta>") == {"": ""}


@pytest.mark.parametrize("text", ["<a/>", "<ismrmrdMeta>", "<ismrmrdMeta><meta/></ismrmrdMeta>", "meta"])
def test_what_is_no_meta_is_refused(text: str) -> None:
    with pytest.raises(WireError, match="the meta of an image cannot be read"):
        read_meta(text)


def test_one_reader_reads_all_metas() -> None:
    """The `ismrmrd` package makes None of empty values."""
    found, root = set(), Path(onebreath.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            reads = isinstance(node, ast.Attribute) and node.attr == "deserialize"
            sets = (
                isinstance(node, ast.Attribute) and node.attr == "attribute_string" and isinstance(node.ctx, ast.Store)
            )
            if reads or sets:
                found.add(path.relative_to(root).as_posix())
    assert found == {"wire/xml_guard.py"}
