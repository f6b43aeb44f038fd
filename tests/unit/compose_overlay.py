"""Parses a Compose override file of docker-compose.yml, without an engine."""

from typing import Any

import yaml

from tests.integration.services import ROOT

REMOVED = "removed"


class _Loader(yaml.SafeLoader):
    """A YAML loader that supports Compose's own tags."""


def _override(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node)


_Loader.add_constructor("!override", _override)
_Loader.add_constructor("!reset", lambda *_: REMOVED)


def overlay_services(name: str) -> dict[str, Any]:
    """The services in the file ``name``; one that it removes is ``REMOVED``."""
    services: dict[str, Any] = yaml.load((ROOT / name).read_text(), Loader=_Loader)["services"]
    return services
