# shellcheck shell=sh
# Sourced when the container's entrypoint activates Gadgetron's environment, just before the server starts.
if [ "${ONEBREATH_AUTOSTART:-0}" = 1 ]; then
    export ONEBREATH_AUTOSTART=0  # nodes and health checks activate the environment, too
    /opt/onebreath/docker/worker.sh &
fi
