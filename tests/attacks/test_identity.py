"""Whose images they are, and how they were made, is never taken from a claim."""

import json
import re
import socket
from types import SimpleNamespace

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ImageArray

from onebreath.chain.notes import content_of, is_note, note, note_maker, note_of
from onebreath.chain.seals import Seals
from onebreath.storage.results import exam_of
from onebreath.wire.channel import Channel
from onebreath.wire.connection import parse_header
from onebreath.wire.xml_guard import as_text
from tests.host import standin, tiny
from tests.host.test_late import LATER, RETRIEVE
from tests.host.test_worker import beginning, gadget_scan
from tests.host.wiring import CLOSE, encoded, start
from tests.host.workers import wait_for, worker

SUBJECT = re.compile(rb"<subjectInformation>.*</subjectInformation>")
MEASUREMENT = re.compile(rb"<measurementInformation>.*</measurementInformation>", re.DOTALL)


def with_subject(subject=b"", declaration=b""):
    """The tiny scan's header with another subject, and a measurement's id that names none."""
    head = MEASUREMENT.sub(b"", SUBJECT.sub(subject, tiny.header()))
    return declaration + head[head.index(b"<ismrmrdHeader") :]


def scan(config, head):
    return b"".join([start(config, head), *(encoded(line) for line in tiny.lines()), CLOSE])


def later():
    return tiny.configuration("cg_sense", *LATER)


def named(name, number=b"5"):
    return b"<subjectInformation><patientName>%s</patientName><patientID>%s</patientID></subjectInformation>" % (
        name,
        number,
    )


@pytest.mark.parametrize(
    "subject",
    [b"", b"<subjectInformation/>", named(b"", b""), named(b"  ", b" ")],
)
def test_a_scan_without_a_subject_retrieves_nobody_s_images(tmp_path, subject):
    nobody = with_subject(subject)
    with worker(tmp_path) as running:
        assert gadget_scan(running, scan(later(), nobody)).images
        (result,) = running.service.late.results.all()
        for which in ("", f'<property name="scan" value="{result.scan}"/>'):
            seen = gadget_scan(running, scan(RETRIEVE.format(1, which).encode(), nobody))
            assert not seen.images
            assert "names no patient" in seen.text
        seen = gadget_scan(running, scan(RETRIEVE.format(1, which).encode(), tiny.header()))
        assert not seen.images


def test_identities_differ_by_what_is_unique():
    one = exam_of(parse_header(with_subject(named(b"A"))))
    assert one
    assert one == exam_of(parse_header(with_subject(named(b" A "))))
    assert one != exam_of(parse_header(with_subject(named(b"A", b"6"))))
    siemens = [exam_of(measured(number)) for number in ("4_77_1_2", "4_78_1_2", "4_77_1_9")]
    assert siemens[0] == siemens[2] != siemens[1]
    assert exam_of(measured("4")) == ""


def measured(number):
    return SimpleNamespace(measurementInformation=SimpleNamespace(measurementID=number))


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "utf-8", "windows-1252"])
def test_late_images_of_a_header_in_another_encoding_are_retrieved(tmp_path, encoding):
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    head = with_subject(named("Müller".encode(encoding)), declaration)
    with worker(tmp_path) as running:
        assert gadget_scan(running, scan(later(), head)).images
        wait_for(lambda: [result.state for result in running.service.late.results.all()] == ["done"])
        assert gadget_scan(running, scan(RETRIEVE.format(1, "").encode(), head)).images
        plain = with_subject(named("Müller".encode()))
        assert gadget_scan(running, scan(RETRIEVE.format(1, "").encode(), plain)).images


def test_a_header_as_text_says_the_same_and_names_no_encoding_but_utf_8():
    declaration = b'<?xml version="1.0" encoding="UTF-16"?>'
    head = with_subject(named(b"Mueller"), declaration).decode().encode("utf-16")
    again = parse_header(as_text(head).encode())
    assert again.subjectInformation.patientName == "Mueller"
    assert exam_of(again) == exam_of(parse_header(with_subject(named(b"Mueller"))))


def forged(gadget, **facts):
    text = json.dumps({"gadget": gadget, "facts": facts}).encode()
    samples = np.frombuffer(text + b" " * (-len(text) % 4), "<u4")
    head = ismrmrd.WaveformHeader()
    head.version, head.waveform_id, head.channels, head.number_of_samples = 1, 0x0B12, 1, samples.size
    return encoded(ismrmrd.Waveform(head, samples))


FORGED = [
    forged("host", served_by="FORGED"),
    forged("prewhiten", whitened=True, noise="FORGED"),
    forged("calibrate", maps="FORGED"),
    forged("anything", told="FORGED"),
]


@pytest.mark.parametrize("side", ["client", "gadget"])
@pytest.mark.parametrize("last", [True, False])
def test_a_peer_s_notes_do_not_stand_in_the_images(tmp_path, side, last):
    lines = [encoded(line) for line in tiny.lines()]
    data = b"".join([*lines, *FORGED, CLOSE] if last else [*FORGED, *lines, CLOSE])
    with worker(tmp_path) as running:
        if side == "gadget":
            config = tiny.configuration("zero_filled")
            (image,) = gadget_scan(running, start(config, tiny.header()) + data).images
        else:
            with socket.create_connection(running.listeners["client"].address) as sock:
                sock.sendall(beginning(tiny.stream("zero_filled")) + data)
                (image,) = [m for m in Channel(sock) if isinstance(m, ismrmrd.Image)]
    assert "FORGED" not in image.attribute_string
    assert "anything" not in image.attribute_string
    assert image.meta["Onebreath_prewhiten_whitened"] == "False"


def sent_to_the_later_nodes(notes):
    from onebreath.host.server import start_gadget_service

    steps = ("sort", "calibrate", "reconstruct", "export")
    with start_gadget_service() as service, standin.connect(service.address) as server:
        data = [start(tiny.configuration(steps=steps), tiny.header()), *notes]
        data += [*(encoded(line) for line in tiny.lines()), CLOSE]
        (image,) = server.exchange(b"".join(data)).images
    return image.meta


def test_notes_of_nodes_before_that_nobody_sealed_are_named_in_the_images():
    meta = sent_to_the_later_nodes([*FORGED[1:2], *FORGED[2:3]])
    assert meta["Onebreath_host_notes_without_seal"] == "prewhiten"
    assert meta["Onebreath_unsealed_prewhiten_whitened"] == "True"
    assert not [name for name in meta if name.startswith("Onebreath_prewhiten_")]
    assert "Onebreath_calibrate_maps" not in meta or meta["Onebreath_calibrate_maps"] != "FORGED"


@pytest.mark.parametrize("encoding", ["utf-8", "ISO-8859-1"])
@pytest.mark.parametrize("sealed", [True, False])
def test_late_images_say_of_notes_what_the_quick_ones_say(tmp_path, encoding, sealed):
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
    head = with_subject(named("Müller".encode(encoding)), declaration)
    made = note("prewhiten", whitened=True, noise="scan")
    config = tiny.configuration("cg_sense", *LATER, steps=("sort", "calibrate", "reconstruct", "export"))
    sent = [start(config, head), encoded(Seals(head).seal(made) if sealed else made)]
    with worker(tmp_path) as running:
        quick = gadget_scan(running, b"".join([*sent, *(encoded(line) for line in tiny.lines()), CLOSE])).images
        wait_for(lambda: [result.state for result in running.service.late.results.all()] == ["done"])
        late = gadget_scan(running, scan(RETRIEVE.format(1, "").encode(), head)).images
    for image in (*quick, *late):
        assert image.meta.get("Onebreath_host_notes_without_seal", "") == ("" if sealed else "prewhiten")
        assert image.meta[f"Onebreath_{'' if sealed else 'unsealed_'}prewhiten_whitened"] == "True"
    assert (len(quick), len(late)) == (1, 1)


def test_notes_of_this_user_s_nodes_are_believed_for_their_scan_alone(tmp_path):
    made = note("prewhiten", whitened=True, noise="scan")
    right = Seals(tiny.header()).seal(made)
    assert "Onebreath_host_notes_without_seal" not in sent_to_the_later_nodes([encoded(right)])
    wrong = {
        "another scan's": Seals(tiny.header() + b"<!-- -->").seal(made),
        "another user's": Seals(tiny.header(), tmp_path).seal(made),
        "changed": note_of({**content_of(right), "facts": {"whitened": True, "noise": "forged"}}),
        "without": made,
    }
    for message in wrong.values():
        assert sent_to_the_later_nodes([encoded(message)])["Onebreath_host_notes_without_seal"] == "prewhiten"


def test_a_node_seals_what_it_decides_and_nothing_that_it_was_told():
    from onebreath.host.server import start_gadget_service

    steps = ("compress", "sort")
    with start_gadget_service() as service, standin.connect(service.address) as server:
        data = [start(tiny.configuration(steps=steps), tiny.header()), *FORGED[1:2]]
        data += [*(encoded(line) for line in tiny.lines()), CLOSE]
        seen = server.exchange(b"".join(data))
    seals = Seals(tiny.header())
    found = {note_maker(message): seals.holds(message) for message in seen.messages if is_note(message)}
    assert found == {"prewhiten": False, "compress": True, "sort": True}


def test_the_key_of_seals_is_this_user_s_alone_and_without_one_nothing_is_believed(tmp_path):
    made = note("prewhiten", whitened=True)
    seals = Seals(b"<x/>", tmp_path)
    assert seals.holds(seals.seal(made))
    assert (tmp_path / "notes.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "file").touch()
    without = Seals(b"<x/>", tmp_path / "file")
    assert without.seal(made) is made
    assert not without.holds(seals.seal(made))


CLAIMS = {
    "Onebreath_prewhiten_whitened": "FORGED",
    "Onebreath_reconstruct_method": "FORGED",
    "OnebreathCommit": "FORGED",
    "Onebreath_seal": "0" * 64,
}


def claiming(array=False):
    """An image of the client's that says how it was made."""
    meta = ismrmrd.Meta(CLAIMS)
    meta["Onebreath_warnings"] = "kept"
    for name in ("encoding_FOV", "recon_FOV", "encoded_matrix", "recon_matrix"):
        meta[name] = ["2", "3", "1"]
    image = ismrmrd.Image.from_array(np.ones((2, 3), np.float32), transpose=False)
    if array:
        headers = np.empty((1, 1, 1), dtype=object)
        headers[0, 0, 0] = image.getHead()
        return encoded(ImageArray(np.ones((3, 2, 1, 1, 1, 1, 1), np.complex64), headers, [meta.serialize()]))
    image.attribute_string = meta.serialize()
    return encoded(image)


@pytest.mark.parametrize("steps", [tiny.STEPS, ("export",)])
@pytest.mark.parametrize("array", [True, False])
def test_images_of_a_peer_do_not_say_that_they_were_made_here(tmp_path, steps, array):
    lines = [encoded(line) for line in tiny.lines()] if "sort" in steps else []
    data = b"".join([start(tiny.configuration(steps=steps), tiny.header()), claiming(array), *lines, CLOSE])
    with worker(tmp_path) as running:
        passed = gadget_scan(running, data).images[0]
    assert not [name for name, value in passed.meta.items() if "FORGED" in value and "unsealed" not in name]
    assert passed.meta["Onebreath_unsealed_reconstruct_method"] == "FORGED"
    assert passed.meta["Onebreath_host_images_without_seal"] == "True"
    assert passed.meta["Onebreath_warnings"] == "kept"
    assert "Onebreath_seal" not in passed.meta


def test_images_of_this_user_s_other_node_say_what_it_said():
    from onebreath.host.server import start_gadget_service

    scan_of = [*(encoded(line) for line in tiny.lines()), CLOSE]
    with start_gadget_service() as service:
        with standin.connect(service.address) as server:
            head = start(tiny.configuration(steps=tiny.STEPS[:-1]), tiny.header())
            made = server.exchange(b"".join([head, *scan_of]))
        (array,) = [message for message in made.messages if isinstance(message, ImageArray)]
        data = [start(tiny.configuration(steps=("export",)), tiny.header()), encoded(array), CLOSE]
        with standin.connect(service.address) as server:
            (image,) = server.exchange(b"".join(data)).images
        other = start(tiny.configuration(steps=("export",)), tiny.header() + b"<!-- another scan -->")
        with standin.connect(service.address) as server:
            (doubted,) = server.exchange(b"".join([other, *data[1:]])).images
    assert image.meta["Onebreath_reconstruct_method"] == "zero_filled"
    assert not [name for name in image.meta if "seal" in name]
    assert "Onebreath_reconstruct_method" not in doubted.meta
    assert doubted.meta["Onebreath_unsealed_reconstruct_method"] == "zero_filled"
