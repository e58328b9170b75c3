#!/bin/sh
# stop.sh PORT - ends, by its pid, the server that start.sh started on that port.
set -eu
. "$(dirname "$0")/../real-server.sh"
port=${1:?the port it listens on}
stop_server HAPI "${CACHE:-$HOME/.cache/fhir-policy-gateway}/hapi/$port.pid" "$port" "fhirgateway.hapi.Server --server.port=$port "
