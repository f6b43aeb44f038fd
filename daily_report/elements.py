"""HTML elements from Python values; text and attributes are escaped when they are written."""

from xml.etree import ElementTree as ET


def element(tag: str, *children: "str | ET.Element", **attributes: object) -> ET.Element:
    """An element with its children in their order. ``class_`` and ``aria_label`` name ``class`` and ``aria-label``."""
    made = ET.Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    last: ET.Element | None = None
    for child in children:
        if not isinstance(child, str):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def as_document(html: ET.Element) -> str:
    """The page's source."""
    return f"<!doctype html>\n{ET.tostring(html, encoding='unicode', method='html')}\n"
