"""Every Kafka client of the project uses the login settings, and none lets a broker create topics."""

import ast
from pathlib import Path

import aiokafka.admin.client
import aiokafka.client
import pytest
from aiokafka.protocol.metadata import MetadataRequest_v5

from libs.runtime.kafka_client import clients
from libs.runtime.kafka_security.connecting import connect

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = {name for name in clients.__all__ if name.startswith("AIO")}
OTHERS = {
    "tests",
    "benchmarks",
    "docs",
    "site",
}  # other programs may create clients in their own way; site is built from docs


@pytest.mark.parametrize("module", [aiokafka.client, aiokafka.admin.client])
def test_metadata_requests_forbid_the_creation_of_topics(module: object) -> None:
    kind = vars(module)["MetadataRequest"]
    for request in (kind([]), kind(["a"]), kind(None)):
        assert request.build(MetadataRequest_v5).to_object()["allow_auto_topic_creation"] is False
    assert kind(["a"]).build(MetadataRequest_v5).to_object()["topics"] == ["a"]


def test_every_aiokafka_client_connects_with_the_function_that_explains_rejections() -> None:
    assert vars(aiokafka.client)["create_conn"] is connect


def is_client(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in CLIENTS


def logs_in(call: ast.Call) -> bool:
    unpacked = [each.value for each in call.keywords if each.arg is None]
    return any(isinstance(each, ast.Call) and ast.unparse(each.func) == "client_arguments" for each in unpacked)


def makes_clients(tree: ast.Module) -> bool:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    bases = (base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases)
    return any(is_client(each) for each in (*calls, *bases))


def test_every_module_imports_clients_from_the_clients_module() -> None:
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
            if isinstance(node, ast.ImportFrom) and node.module != clients.__name__
            for name in node.names
            if name.name in CLIENTS
        ]
        assert not others, f"{path} has {others}"
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if is_client(call.func):
                assert logs_in(call), f"{path}:{call.lineno} does not pass **client_arguments(...)"
    assert {
        "libs/runtime/topics/creation.py",
        "libs/runtime/kafka_client/header_keys.py",
        "verification/topic_reader.py",
    } <= makers
