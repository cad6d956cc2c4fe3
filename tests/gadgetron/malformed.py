"""Configurations that a server refuses, or that lose data there, beside some that only look wrong."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
GOOD = (CONFIGS / "Onebreath_Static_ZeroFilled.xml").read_text(encoding="utf-8")
READERS = GOOD[GOOD.index("  <readers>") : GOOD.index("  <writers>")]
WRITERS = GOOD[GOOD.index("  <writers>") : GOOD.index("  <stream>")]
EXTERNAL = GOOD[GOOD.index("    <external>") : GOOD.index("  </stream>")]
LINES = "<reader><dll>gadgetron_core_readers</dll><classname>AcquisitionReader</classname></reader>"
WAVES = "<reader><dll>gadgetron_core_readers</dll><classname>WaveformReader</classname></reader>"
IMAGES = "<writer><dll>gadgetron_core_writers</dll><classname>ImageWriter</classname></writer>"
LEGACY = "<gadgetronStreamConfiguration>{}</gadgetronStreamConfiguration>"


def _but(old: str, new: str) -> str:
    """The good configuration with a part replaced."""
    assert old in GOOD, old
    return GOOD.replace(old, new)


def _other_root(begin: str, end: str) -> str:
    """The good configuration with another root element."""
    head, _, rest = GOOD.partition("<configuration>")
    return f"{head}<{begin}>{rest.rpartition('</configuration>')[0]}</{end}>"


CONFIGURATIONS: dict[str, str] = {
    "good": GOOD,
    "no readers": _but(READERS, ""),
    "no reader of lines": _but(LINES, ""),
    "no reader of waveforms": _but(WAVES, ""),
    "no writers": _but(WRITERS, ""),
    "only a writer of texts": _but("ImageWriter", "TextWriter"),
    "reader of an unknown library": _but("gadgetron_core_readers", "gadgetron_core_raeders"),
    "unknown reader": _but("AcquisitionReader", "AcquisitionsReader"),
    "unknown writer": _but("ImageWriter", "PictureWriter"),
    "no version": _but("  <version>2</version>\n", ""),
    "version 3": _but("<version>2<", "<version>3<"),
    "version in blanks": _but("<version>2<", "<version> 2 <"),
    "unknown node": _but("external>", "outside>"),
    "purestream as a node": _but(EXTERNAL, f"<purestream>{EXTERNAL}</purestream>"),
    "text between nodes": _but("<stream>", "<stream> first prewhiten "),
    "external node without action": _but("<execute", "<exec"),
    "not well-formed": _but("</stream>", ""),
    "other root": _other_root("konfiguration", "konfiguration"),
    "root with a prefix": GOOD.replace(
        "<configuration>\n  <version>", '<g:configuration xmlns:g="http://x">\n  <version>'
    )
    .rstrip()
    .removesuffix("</configuration>")
    + "</g:configuration>",
    "type perl": _but('type="python"', 'type="perl"'),
    "no type": _but(' type="python"', ""),
    "type in capitals": _but('type="python"', 'type="Python"'),
    "empty stream": _but(EXTERNAL, ""),
    "external node in a pure stream": _but(
        EXTERNAL, f'<parallelprocess workers="1"><purestream>{EXTERNAL}</purestream></parallelprocess>'
    ),
    "own readers without images": _but("<execute", f"<readers>{WAVES}</readers><execute"),
    "own writers without lines": _but(
        "<execute",
        "<writers><writer><dll>gadgetron_core_writers</dll><classname>WaveformWriter</classname></writer></writers>"
        "<execute",
    ),
    "ambiguous property of a native gadget": _but(
        "<external>",
        "<gadget><name>A</name><dll>gadgetron_mricore</dll><classname>RemoveROOversamplingGadget</classname>"
        '<property name="a" value="b"><name>a</name><value>b</value></property></gadget><external>',
    ),
    "property without a value": _but(
        "<external>",
        "<gadget><name>A</name><dll>gadgetron_mricore</dll><classname>RemoveROOversamplingGadget</classname>"
        '<property name="a"/></gadget><external>',
    ),
    "old grammar with an external node": LEGACY.format(LINES + WAVES + IMAGES + EXTERNAL),
    "namespace without a prefix": _but(
        "<configuration>\n  <version>", '<configuration xmlns="http://gadgetron.sf.net/gadgetron">\n  <version>'
    ),
    "readers twice": _but("  <writers>", f"<readers>{LINES}</readers>  <writers>"),
    "readers after the stream": GOOD.replace(READERS, "").replace("</stream>", f"</stream>{READERS}"),
    "slot of a reader": _but(
        f"<reader>{LINES.removeprefix('<reader>')}", LINES.replace("<reader>", "<reader><slot>1009</slot>")
    ),
    "root in capitals": _other_root("Configuration", "Configuration"),
    "no target": _but(' target="chain"', ""),
}

_UNPARSED = "No parser accepted config file"
REASONS = {
    **dict.fromkeys(["no readers", "no reader of lines", "no reader of waveforms", "slot of a reader"], "map::at"),
    **dict.fromkeys(["type perl", "no type"], "map::at"),
    **dict.fromkeys(["unknown node", "purestream as a node", "text between nodes"], "unordered_map::at"),
    **dict.fromkeys(["no version", "version 3", "version in blanks", "other root"], _UNPARSED),
    **dict.fromkeys(["root with a prefix", "root in capitals"], _UNPARSED),
    "reader of an unknown library": "gadgetron_core_raeders",
    "unknown reader": "AcquisitionsReader",
    "unknown writer": "PictureWriter",
    "external node without action": "Unable to parse valid action",
    "own readers without images": "Received illegal message id from external peer: 1022",
    "ambiguous property of a native gadget": "Ambiguous property parse",
    "property without a value": "Unable to parse property",
}
"""The server's reason, where it gives one; the embedded host gives the same."""
