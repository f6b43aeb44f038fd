"""No client of ours lets a broker create topics."""

import ast
from pathlib import Path

import aiokafka.admin.client
import aiokafka.client
import pytest
from aiokafka.protocol.metadata import MetadataRequest_v5

from libs.runtime import kafka_clients

ROOT = Path(__file__).resolve().parents[2]
OTHERS = {"tests", "benchmarks", "docs"}  # what others make clients with is their choice


@pytest.mark.parametrize("module", [aiokafka.client, aiokafka.admin.client])
def test_metadata_requests_forbid_the_creation_of_topics(module: object) -> None:
    kind = vars(module)["MetadataRequest"]
    for request in (kind([]), kind(["a"]), kind(None)):
        assert request.build(MetadataRequest_v5).to_object()["allow_auto_topic_creation"] is False
    assert kind(["a"]).build(MetadataRequest_v5).to_object()["topics"] == ["a"]


def makes_clients(tree: ast.Module) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    bases = (base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases)
    return any(isinstance(each, ast.Name) and each.id in kafka_clients.__all__ for each in (*calls, *bases))


def test_every_module_that_makes_clients_has_them_from_there() -> None:
    makers = set()
    folders = (each for each in ROOT.iterdir() if each.is_dir() and each.name[0] != "." and each.name not in OTHERS)
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        if not makes_clients(tree):
            continue
        makers.add(path.relative_to(ROOT).as_posix())
        others = [
            (node.module, name.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module != kafka_clients.__name__
            for name in node.names
            if name.name in kafka_clients.__all__
        ]
        assert not others, f"{path} has {others}"
    assert {"libs/runtime/broker.py", "libs/runtime/header_keys.py", "verification/topic_reader.py"} <= makers
