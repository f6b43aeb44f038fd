"""The findings for missing rights of a principal."""

from dataclasses import replace
from typing import get_args

from cli.commands.doctor import RoleName
from doctor.finding import Level
from doctor.rights import rights_findings
from libs.events.rights import PROCESSOR, ROLES
from libs.runtime.kafka_security.security import KafkaAddress, KafkaSecurity


def logged_in_as(user: str) -> KafkaAddress:
    return KafkaAddress("localhost:1", KafkaSecurity(username=user))


def test_a_missing_required_right_is_a_problem() -> None:
    (finding,) = rights_findings(PROCESSOR, [PROCESSOR.needed[0]], "mine.", logged_in_as("mine.processor"))
    assert finding.level is Level.PROBLEM
    assert finding.message == "processor lacks READ on topic 'mine.orders': read orders, commit offsets"
    assert finding.advice == "`python -m acls --role processor --topic-prefix mine.`"


def test_a_right_is_granted_to_the_user_that_lacks_it() -> None:
    (finding,) = rights_findings(PROCESSOR, [PROCESSOR.needed[0]], "mine.", logged_in_as("svc-orders"))
    assert finding.advice.endswith(" --topic-prefix mine. --principal processor=User:svc-orders`")


def test_a_missing_optional_right_is_a_warning() -> None:
    right = next(right for right in PROCESSOR.rights if right.optional)
    (finding,) = rights_findings(PROCESSOR, [replace(right, optional="")], "", "localhost:1")
    assert finding.level is Level.WARNING
    assert finding.message.endswith(right.optional)


def test_without_missing_rights_all_is_ok() -> None:
    (finding,) = rights_findings(PROCESSOR, [], "", "localhost:1")
    assert finding.level is Level.OK


def test_every_principal_can_be_checked() -> None:
    assert set(get_args(RoleName)) == {role.name for role in ROLES}
