#!/usr/bin/env bash
# Starts a pipeline of its own, lets it run, stops the orders, waits until the last window is closed and written, and
# verifies the result against the topics themselves. Exits 0 only when everything is exact. A pipeline that is already
# running is not touched: this one has its own ports, data and output, and takes them along when it ends.
#
#   ./test_pipeline.sh                   live orders for RUN_SECONDS (60); takes about three minutes
#   ./test_pipeline.sh --quick           100,000 orders of the last 20 minutes instead, as fast as they can be taken
#                                        (other figures: GENERATOR_COUNT, GENERATOR_RATE, GENERATOR_BACKFILL_SECONDS)
#   ./test_pipeline.sh --processors 3 --analytics 2
#   ./test_pipeline.sh --mode local      without Docker; --mode docker insists on it; default: Docker where it answers
set -euo pipefail
cd "$(dirname "$0")"

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; }

mode=${MODE:-}
quick=${QUICK:-}
processors=1
analytics=1
while [ $# -gt 0 ]; do
    case $1 in
        --quick | --backfill) quick=1 ;;
        --mode) mode=${2:?--mode needs docker or local} && shift ;;
        --processors) processors=${2:?--processors needs a number} && shift ;;
        --analytics) analytics=${2:?--analytics needs a number} && shift ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done

say() { printf '\n== %s\n' "$*"; }

if [ -z "$mode" ]; then
    mode=local
    if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then mode=docker; fi
fi

case $mode in
    docker | local) ;;
    *) echo "--mode needs docker or local, not '$mode'" >&2 && exit 2 ;;
esac

# Neither the caller's shell nor a .env of the checkout changes which pipeline is verified: the shell may hold the settings of
# another one, with a login and more brokers. How orders are processed (IDLE_AFTER_SECONDS, ...) is taken from the shell.
unset ${!KAFKA_SECURITY_*} ${!KAFKA_SASL_*} ${!KAFKA_SSL_*} ${!TOPIC_*} ${!SINK_*} COMPOSE_FILE COMPOSE_PROFILES
export TOPIC_PREFIX='' SINK_OUTPUTS=file WINDOW_SECONDS=${WINDOW_SECONDS:-60}
export GENERATOR_FAULTS=${GENERATOR_FAULTS:-0.01} GENERATOR_SEED=${GENERATOR_SEED:-}
if [ -n "$quick" ]; then
    export GENERATOR_RATE=${GENERATOR_RATE:-100} GENERATOR_COUNT=${GENERATOR_COUNT:-100000}
    export GENERATOR_BACKFILL_SECONDS=${GENERATOR_BACKFILL_SECONDS:-1200}
else
    export GENERATOR_RATE=${GENERATOR_RATE:-10-50} GENERATOR_COUNT='' GENERATOR_BACKFILL_SECONDS=0
fi

free_ports() { .venv/bin/python -c "from local.ports import free_ports; print(*free_ports($1))"; }
free_http_ports() { .venv/bin/python -c "from local import ports, settings; print(ports.free_block(settings.HTTP_PORTS))"; }

docker_compose() { docker compose --project-name "pipeline-check-$$" --env-file /dev/null --progress quiet "$@"; }

docker_up() {
    read -r PIPELINE_KAFKA_PORT PIPELINE_LIVE_PORT <<<"$(free_ports 2)"
    export PIPELINE_KAFKA_PORT PIPELINE_LIVE_PORT OUTPUT_DIR=$scratch
    if [ -n "$GENERATOR_COUNT" ]; then export GENERATOR_RESTART=on-failure; else unset GENERATOR_RESTART; fi
    bootstrap=localhost:$PIPELINE_KAFKA_PORT
    docker_compose up --build --detach --scale processor="$processors" --scale analytics="$analytics"
}

docker_stop_generator() { docker_compose stop generator; }
docker_generator_ended() { [ -z "$(docker_compose ps --quiet --status running --status restarting generator)" ]; }
docker_logs() { docker_compose logs --no-color --tail 15 generator processor analytics sink; }
docker_down() { docker_compose down --volumes --rmi local --timeout 20; }

local_up() {
    read -r LOCAL_KAFKA_PORT LOCAL_ZOOKEEPER_PORT <<<"$(free_ports 2)"
    LOCAL_HTTP_PORT=$(free_http_ports)
    export LOCAL_KAFKA_PORT LOCAL_ZOOKEEPER_PORT LOCAL_HTTP_PORT LOCAL_DIR=$scratch SINK_OUTPUT_PATH=$metrics
    bootstrap=localhost:$LOCAL_KAFKA_PORT
    .venv/bin/pipeline up --detach --processors "$processors" --analytics "$analytics"
}

local_supervisor() { .venv/bin/supervisorctl --serverurl "unix://$LOCAL_DIR/supervisor.sock" "$@"; }
local_stop_generator() { local_supervisor stop generator; }
local_generator_ended() { [[ $(local_supervisor status generator || true) =~ EXITED|STOPPED|FATAL ]]; }
local_logs() { tail -n 15 "$LOCAL_DIR"/logs/{generator,processor-*,analytics-*,sink}.log; }
local_down() { .venv/bin/pipeline down; }

wait_for_generator() {
    local deadline=$((SECONDS + 300))
    until "${mode}_generator_ended"; do
        if [ $SECONDS -ge $deadline ]; then echo "the orders are not out after 300 s" >&2 && return 1; fi
        sleep 1
    done
}

clean_up() {
    status=$?
    trap - EXIT
    set +e
    trap '' INT TERM HUP # the rest is bounded, and would leave containers or processes behind
    jobs -p | xargs kill 2>/dev/null || true
    outcome=passed
    if [ $status -gt 128 ]; then
        outcome=interrupted
    elif [ $status -ne 0 ]; then
        outcome=FAILED
        "${mode}_logs" >&2 || true
    fi
    say "cleaning up"
    "${mode}_down"
    rm -rf "$scratch"
    say "$outcome"
    exit $status
}

say "setting up"
make --no-print-directory --silent .venv/.installed
scratch=$(mktemp -d /tmp/pipeline-check.XXXXXX)
metrics=$scratch/metrics.json
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
# Whoever reads along may leave: the next line fails then, instead of ending this without a clean-up.
trap '' PIPE

say "starting a pipeline ($mode): $processors processor(s), $analytics analytics"
"${mode}_up"
if [ -n "$quick" ]; then
    say "sending $GENERATOR_COUNT orders of the last $((GENERATOR_BACKFILL_SECONDS / 60)) minutes"
    wait_for_generator
else
    say "running for ${RUN_SECONDS:=60} s at $GENERATOR_RATE orders a second"
    sleep "$RUN_SECONDS" & # a trap is only run between commands, or while waiting
    wait $!
    "${mode}_stop_generator"
fi

say "verifying, once the last window is closed and written"
.venv/bin/pipeline verify --bootstrap "$bootstrap" --output "$metrics" \
    --window-seconds "$WINDOW_SECONDS" --wait-closed $((WINDOW_SECONDS + 60))
if ! [ -s "$metrics" ]; then echo "no metric was written" >&2 && exit 1; fi
say "the metrics written last, of $(wc -l <"$metrics")"
tail -n 5 "$metrics"
