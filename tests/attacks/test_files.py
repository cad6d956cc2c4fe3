"""Files that somebody sent are read as far as they are scans or images, and no further."""

import os

import h5py
import ismrmrd
import numpy as np
import pytest

from onebreath.cli import main
from onebreath.errors import ScanError
from onebreath.images.reading import read_images
from onebreath.wire.raw_file import RawFile
from tests.host import tiny

LARGE = 10**12


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.h5"
    with ismrmrd.Dataset(str(path), "dataset", True) as file:
        file.write_xml_header(tiny.header())
        for line in tiny.lines()[:3]:
            file.append_acquisition(line)
    return path


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.h5"
    with ismrmrd.Dataset(str(path), "images", True) as file:
        file.append_image("image_1", ismrmrd.Image.from_array(np.ones((4, 4), np.float32), transpose=False))
    return path


def read_raw(path):
    with RawFile(path) as file:
        return len(file.headers()), len(list(file.messages()))


def test_whole_files_are_read(raw, images):
    assert read_raw(raw) == (3, 3)
    assert len(read_images(images)) == 1


def replaced(path, name, **array):
    with h5py.File(path, "a") as file:
        old = file[name].dtype
        del file[name]
        file.create_dataset(name, **{"dtype": old, **array})


def huge(path, name):
    with h5py.File(path, "r") as file:
        shape = (LARGE, *file[name].shape[1:])
    replaced(path, name, shape=shape, chunks=(1, *shape[1:]), compression="gzip")


def elsewhere(path, name):
    path.rename(path.with_suffix(".other"))
    group = name.partition("/")[0]
    with h5py.File(path, "w") as file:
        file[group] = h5py.ExternalLink(str(path.with_suffix(".other")), group)


def virtual(path, name):
    other = path.with_suffix(".other")
    other.write_bytes(path.read_bytes())
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
        layout[:] = h5py.VirtualSource(str(other), name, file[name].shape)
        del file[name]
        file.create_virtual_dataset(name, layout)


def loop(path, name):
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = h5py.SoftLink(f"/{name}")


def numbers(path, name):
    replaced(path, name, data=np.arange(3), dtype=int)


def nothing(path, name):
    with h5py.File(path, "a") as file:
        del file[name]


def group(path, name):
    nothing(path, name)
    with h5py.File(path, "a") as file:
        file.create_group(name)


def many(path, name):
    with h5py.File(path, "a") as file:
        for number in range(10_001):
            file.create_group(f"g{number}")


def pipe(path, name):
    path.unlink()
    os.mkfifo(path)


HARM = [huge, elsewhere, virtual, loop, numbers, nothing, group, many, pipe]


@pytest.mark.parametrize("harm", HARM)
def test_raw_data_that_are_none_are_refused_in_words(raw, harm):
    harm(raw, "dataset/data")
    with pytest.raises(ScanError, match=r"raw\.h5"):
        read_raw(raw)


@pytest.mark.parametrize("harm", [loop, numbers, nothing, group])
def test_a_header_that_is_none_is_refused_in_words(raw, harm):
    harm(raw, "dataset/xml")
    with pytest.raises(ScanError, match=r"raw\.h5"):
        read_raw(raw)


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["data", "header", "attributes"])
def test_images_that_are_none_are_refused_in_words(images, harm, name):
    harm(images, f"images/image_1/{name}")
    with pytest.raises(ScanError):
        read_images(images)


def test_cycles_within_a_file_are_walked_once(raw):
    with h5py.File(raw, "a") as file:
        file["dataset/self"] = file["/"]
    assert read_raw(raw) == (3, 3)


def test_entities_in_the_meta_of_images_are_not_expanded(images):
    entities = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>"
    bomb = f"{entities}<ismrmrdMeta><meta><name>x</name><value>&b;</value></meta></ismrmrdMeta>"
    replaced(images, "images/image_1/attributes", data=[bomb])
    with pytest.raises(ScanError, match="declares a document type"):
        read_images(images)


def test_names_in_a_file_do_not_write_to_the_terminal(raw, capsys):
    head = tiny.header().decode()
    told = "<measurementInformation><patientPosition>HFS</patientPosition><protocolName>%s</protocolName>"
    at, end = head.index("<measurementInformation>"), head.index("</measurementInformation>")
    with h5py.File(raw, "a") as file:
        file["dataset/xml"][0] = head[:at] + told % "A&#10;Lines&#10;9 forged&#x202e;B&#x2028;C" + head[end:]
    main(["inspect", str(raw)])
    assert "A\\nLines\\n9 forged\\u202eB\\u2028C" in capsys.readouterr().out


def test_what_images_say_stays_on_its_line(images, capsys):
    meta = ismrmrd.Meta({"Onebreath_warnings": "one", "Onebreath_reconstruct_method": "a\nb\u202e"})
    with h5py.File(images, "a") as file:
        del file["images/image_1/attributes"]
        file.create_dataset("images/image_1/attributes", data=[meta.serialize()], dtype=h5py.string_dtype())
    assert main(["provenance", str(images)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [["reconstruct", "method:", "a", "b\\u202e"], ["warnings", "one"]]
