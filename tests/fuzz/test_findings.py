"""What fuzzing found: inputs that once ended in another way than with messages or a clear error."""

import subprocess
import sys

import pytest

from onebreath.config.finding import find
from onebreath.config.stream_config import parse
from onebreath.errors import ConfigError
from tests.fuzz.tape import parse_all
from tests.host.standin import environment
from tests.host.wiring import HEADER

NESTED = b"<x>" * 5000 + b"</x>" * 5000


def test_a_name_longer_than_a_file_may_have() -> None:
    for name in ("a" * 256, "sub/" + "ä" * 128, "x" * 1023, "a/" * 3000):
        with pytest.raises(ConfigError, match="not the name of a configuration"):
            find(name)


@pytest.mark.parametrize("encoding", ["UTF-4", "zlib", "idna", "utf-16", "undefined"])
def test_an_encoding_that_does_not_exist_or_fit(encoding: str) -> None:
    with pytest.raises(ConfigError):
        parse(f'<?xml version="1.0" encoding="{encoding}"?><configuration/>'.encode())
    parse_all(f'<?xml version="1.0" encoding="{encoding}"?><x/>'.encode())


def test_a_configuration_nested_deeper_than_python_recurses() -> None:
    node = b'<external><connect port="1"/><configuration>' + NESTED + b"</configuration></external>"
    with pytest.raises(ConfigError, match="nested deeper"):
        parse(b"<configuration><version>2</version><stream>" + node + b"</stream></configuration>")
    parse_all(NESTED)


def test_a_birthdate_that_is_none_does_not_get_into_the_log() -> None:
    """The schema library's warning quoted it on standard error; in a process of its own, as pytest sets up warnings."""
    subject = b"<subjectInformation><patientBirthdate>12.03.1970</patientBirthdate></subjectInformation>"
    header = HEADER.replace(b"<experimentalConditions>", subject + b"<experimentalConditions>")
    code = (
        "import sys; from onebreath.wire.connection import parse_header; "
        "print(parse_header(sys.stdin.buffer.read()).subjectInformation.patientBirthdate)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=header, env=environment(), capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"12.03.1970\n", b"")
