"""The findings for missing rights of a principal."""

from dataclasses import replace
from typing import get_args

from cli.commands.doctor import RoleName
from doctor.finding import Level
from doctor.rights import rights_findings
from libs.events.rights import PROCESSOR, ROLES


def test_a_missing_required_right_is_a_problem() -> None:
    (finding,) = rights_findings(PROCESSOR, [PROCESSOR.needed[0]], "mine.")
    assert finding.level is Level.PROBLEM
    assert finding.message == "processor lacks READ on topic 'mine.orders': read orders, commit offsets"
    assert finding.advice == "python -m acls --role processor --topic-prefix mine."


def test_a_missing_optional_right_is_a_warning() -> None:
    right = next(right for right in PROCESSOR.rights if right.optional)
    (finding,) = rights_findings(PROCESSOR, [replace(right, optional="")], "")
    assert finding.level is Level.WARNING
    assert finding.message.endswith(right.optional)


def test_without_missing_rights_all_is_ok() -> None:
    (finding,) = rights_findings(PROCESSOR, [], "")
    assert finding.level is Level.OK


def test_every_principal_can_be_checked() -> None:
    assert set(get_args(RoleName)) == {role.name for role in ROLES}
