"""Checks the rights that one of the pipeline's principals needs."""

from dataclasses import replace

from aiokafka.errors import KafkaError

from doctor.finding import Finding, ok, problem, skipped, warning
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from libs.runtime.rights.right import Right, Role, granting_command
from libs.runtime.rights.rights_check import RightsCheck


async def check_rights(kafka: Kafka, prefix: str, role: Role) -> list[Finding]:
    """Which rights of ``role`` this client lacks: a problem, or a warning if the program works without it."""
    asked = replace(role, rights=tuple(replace(right, optional="") for right in role.rights))
    check = RightsCheck(kafka, prefix, asked)
    try:
        missing = await check.missing()
    except (KafkaError, OSError, PipelineError, TimeoutError) as error:
        return [skipped("rights", f"the brokers did not report the rights of {role.name}: {error!r}")]
    finally:
        await check.close()
    return rights_findings(role, missing, prefix, kafka)


def rights_findings(role: Role, missing: list[Right], prefix: str, kafka: Kafka) -> list[Finding]:
    """Findings for the rights of ``role`` in ``missing``, whose ``optional`` does not count."""
    optional = {replace(right, optional=""): right.optional for right in role.rights}
    advice = granting_command(role.name, prefix, kafka)
    findings = []
    for right in missing:
        what = f"{role.name} lacks {right.described(prefix)}: {right.why}"
        without = optional[right]
        findings.append(warning("rights", f"{what}; {without}", advice) if without else problem("rights", what, advice))
    return findings or [ok("rights", f"all that {role.name} needs")]
