"""`pipeline doctor`."""

import os
from typing import Literal

from aiokafka.errors import KafkaError

from cli.app import EXIT_DONE, EXIT_FAILED
from cli.context import PipelineContext, ThisMachine, context_of
from cli.errors import NoPipelineError
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import messages, print_json, print_line, print_table
from doctor.cluster import cluster_findings
from doctor.collect_cluster import Progress, collect_cluster_facts
from doctor.finding import Finding, Level, findings_json, has_problem, problem, skipped
from doctor.machine import machine_findings, no_cluster
from doctor.machine_facts import collect_machine_facts
from doctor.rights import check_rights
from doctor.table import findings_table
from libs.checkout import is_checkout
from libs.events.rights import ROLES
from libs.runtime.errors import PipelineError, SettingsError
from local.errors import LocalModeError
from local.paths import ROOT
from local.settings import LocalSettings

RoleName = Literal["generator", "processor", "analytics", "sink", "viewer", "dead-letters", "recompute"]


def doctor(*, role: RoleName | None = None, json: bool = False, pipeline: PipelineOptions = FOUND) -> int:
    """Check this machine and the cluster, and print how to fix each problem.

    It writes nothing and takes ten seconds. The exit code is 1 if there is a problem; warnings do not count.

    Args:
        role: Check that the credentials in the environment have the rights of this principal.
        json: Print JSON.
    """
    with messages.status("looking at this machine") as status:
        findings = _of_machine()
        status.update("looking for a pipeline")
        findings += _of_cluster(pipeline, role, status.update)
    failed = has_problem(findings)
    if json:
        print_json({"ok": not failed, "findings": findings_json(findings)})
    else:
        print_table(findings_table(findings))
        print_line(_summary(findings))
    return EXIT_FAILED if failed else EXIT_DONE


def _of_machine() -> list[Finding]:
    if not is_checkout():
        return [skipped("machine", "this is no checkout; `make doctor` in one checks the machine")]
    machine = ThisMachine()
    try:
        running = machine.running_local_mode()
        settings = running or LocalSettings.from_environment()
    except LocalModeError as error:  # its supervisor has ended, or a setting cannot be used
        return [problem("local mode", str(error), error.advice)]
    facts = collect_machine_facts(ROOT, settings, machine.compose_environment(), local_mode_runs=running is not None)
    return machine_findings(facts)


def _of_cluster(options: PipelineOptions, role: RoleName | None, progress: Progress) -> list[Finding]:
    try:
        context = context_of(options)
    except (NoPipelineError, LocalModeError) as error:
        return [no_cluster(str(error))]
    try:
        return _judged(context, role, progress)
    except SettingsError as error:
        return [problem("login", str(error), "see docs/security.md")]
    except (PipelineError, KafkaError, OSError) as error:
        advice = error.advice if isinstance(error, PipelineError) else ""
        return [problem("cluster", f"{context.bootstrap_servers}: {error}", advice or "start it, or give --bootstrap")]


def _judged(context: PipelineContext, role: RoleName | None, progress: Progress) -> list[Finding]:
    kafka, prefix = address_of(context), context.topic_prefix
    declared = os.environ.get("TOPIC_PARTITIONS") or ""

    async def examine() -> list[Finding]:
        principal = next((each for each in ROLES if each.name == role), None)
        rights = await check_rights(kafka, prefix, principal) if principal else []
        facts = await collect_cluster_facts(kafka, prefix, progress)
        partitions = int(declared) if declared.isdecimal() else None
        return cluster_findings(facts, prefix, partitions, principal) + rights

    # No check of rights at the start: a missing right is a finding.
    return run_in_kafka(examine, kafka, prefix, None)


def _summary(findings: list[Finding]) -> str:
    counts = {level: sum(finding.level is level for finding in findings) for level in (Level.PROBLEM, Level.WARNING)}
    told = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count]
    return ", ".join(told) or "no problems"
