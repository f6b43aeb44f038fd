"""`pipeline status`."""

from cli.app import EXIT_DONE, EXIT_FAILED
from cli.context import Origin, PipelineContext, context_of
from cli.errors import NoPipelineError
from cli.options import FOUND, PipelineOptions
from cli.output import print_json, print_line, print_table
from local.errors import LocalModeError, SilentSupervisorError
from local.running import running_supervisor
from local.settings import LocalSettings
from local.status import status_json, status_table


def status(*, json: bool = False, pipeline: PipelineOptions = FOUND) -> int:
    """Show what is running.

    In local mode: state, process id, port and health of each program. For any other pipeline: replicas and lag of each stage,
    as Kafka reports them. The exit code is 1 if nothing is running. With --json it is 0 then, and "state" is "stopped".

    Args:
        json: Print JSON.
    """
    try:
        context = context_of(pipeline)
    except (NoPipelineError, LocalModeError) as error:
        if not json or isinstance(error, SilentSupervisorError):
            raise
        print_json({"state": "stopped" if isinstance(error, NoPipelineError) else "unsupervised"})
        return EXIT_DONE
    if context.origin is Origin.LOCAL:
        return _of_local_mode(as_json=json)
    return _of_stages(context, as_json=json)


def _of_local_mode(*, as_json: bool) -> int:
    programs = running_supervisor().programs()
    settings = LocalSettings.of_running()
    if as_json:
        print_json({"context": Origin.LOCAL, **status_json(settings, programs)})
    else:
        print_line(status_table(settings, programs))
    return EXIT_DONE


def _of_stages(context: PipelineContext, *, as_json: bool) -> int:
    # Imported here: Kafka's client takes half a second to import, and local mode does not need it.
    from cli.kafka import address_of, run_in_kafka  # noqa: PLC0415
    from cli.stages import is_running, look_at_stages, stages_json, stages_table  # noqa: PLC0415
    from libs.events.rights import VIEWER  # noqa: PLC0415

    kafka = address_of(context)
    stages = run_in_kafka(lambda: look_at_stages(kafka, context.topic_prefix), kafka, context.topic_prefix, VIEWER)
    running = is_running(stages)
    if as_json:
        about = {
            "context": context.origin,
            "state": "running" if running else "stopped",
            "bootstrap_servers": context.bootstrap_servers,
            "topic_prefix": context.topic_prefix,
            "window_seconds": context.window_seconds,
        }
        print_json(about | {"stages": stages_json(stages)})
        return EXIT_DONE
    print_table(stages_table(stages, f"{context.origin}: Kafka at {context.bootstrap_servers}"))
    return EXIT_DONE if running else EXIT_FAILED
