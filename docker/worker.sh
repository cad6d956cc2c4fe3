#!/bin/bash
# Runs the worker, and starts it anew after a crash; ends when it is asked to.
set -u
export PATH="/opt/conda/envs/gadgetron/bin:${PATH}"
folder=$(dirname "${ONEBREATH_WORKER}")
mkdir -p "${folder}" && chmod 700 "${folder}"
stop() {
    trap - TERM INT
    kill -TERM "${worker}" 2>/dev/null
    wait "${worker}"
    exit 0
}
trap stop TERM INT
while true; do
    # In a session of its own: what is sent to the whole group reaches it once, by stop(); a second TERM breaks scans off.
    setsid onebreath serve --port -1 --socket "${ONEBREATH_WORKER}" "$@" &
    worker=$!
    wait "${worker}"
    echo "the worker ended with status $?; it is started anew" >&2
    sleep 2
done
