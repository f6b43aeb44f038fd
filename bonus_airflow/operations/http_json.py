"""JSON over HTTP from this machine's own endpoints."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bonus_airflow.operations.errors import OperationError

_TIMEOUT_S = 5.0


def get_json(url: str) -> Mapping[str, Any]:
    """The JSON object at ``url``; a proxy in the environment is ignored.

    Raises:
        OperationError: there is no response, or it is not a JSON object.
    """
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise OperationError(f"{url} answers {answer.status}")
        found: Mapping[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OperationError(f"no answer from {url}: {error!r}") from error
    finally:
        connection.close()
    return found
