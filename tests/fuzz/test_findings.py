"""What fuzzing found: inputs that once ended in another way than with messages or a clear error."""

import pytest

from onebreath.errors import ConfigError
from onebreath.host.stream_config import find, parse
from tests.fuzz.tape import parse_all

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
