#!/bin/sh
# stop.sh PORT - ends, by its pid, the server that start.sh started on that port.
set -eu
port=${1:?the port it listens on}
file=${CACHE:-$HOME/.cache/fhir-policy-gateway}/keycloak/$port.pid
[ -s "$file" ] || { echo "no Keycloak noted for port $port"; exit 0; }
pid=$(cat "$file")
# A pid may have been given to another process since: only a server with this very port is ended.
if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "http-port=$port "; then
  kill "$pid"
  tries=0
  while kill -0 "$pid" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || { kill -9 "$pid"; break; }
    sleep 0.2
  done
fi
rm -f "$file"
