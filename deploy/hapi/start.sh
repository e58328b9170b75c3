#!/bin/sh
# start.sh PORT - a real HAPI FHIR R4 server on http://127.0.0.1:PORT/fhir; its data is gone when it stops.
# Builds once into the cache, waits for /fhir/metadata, prints pid, url and log. Needs Java 17, Maven, curl, flock.
#   CACHE        build, log and pid files (default ~/.cache/fhir-policy-gateway)
#   HAPI_XMX     heap (default 768m; 2g for a load run, because H2 keeps all data in it)
#   META_SOURCE  SOURCE_URI_AND_REQUEST_ID (default) | SOURCE_URI | NONE
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../real-server.sh"
port=${1:?the port to listen on}
out=${CACHE:-$HOME/.cache/fhir-policy-gateway}/hapi
url=http://127.0.0.1:$port/fhir
mkdir -p "$out"

status() { curl -s -o /dev/null -m 10 -w '%{http_code}' "$url/metadata" || true; }
[ "$(status)" = 000 ] || { echo "port $port already answers" >&2; exit 1; }

(
  flock 9 # two starts at once share one build
  if [ ! -s "$out/classpath" ] || [ -n "$(find "$here/pom.xml" "$here/src" -newer "$out/classpath")" ]; then
    mvn -q -B -f "$here/pom.xml" -Dout="$out" compile dependency:build-classpath \
      -Dmdep.outputFile="$out/classpath.new" >"$out/build.log" 2>&1 || { tail -n 30 "$out/build.log" >&2; exit 1; }
    mv "$out/classpath.new" "$out/classpath"
  fi
) 9>"$out/lock"

log=$out/$port.log
setsid java -Xmx"${HAPI_XMX:-768m}" -XX:+UseSerialGC -XX:TieredStopAtLevel="${HAPI_TIER:-4}" \
  -Dmeta_source="${META_SOURCE:-SOURCE_URI_AND_REQUEST_ID}" \
  -cp "$out/classes:$(cat "$out/classpath")" fhirgateway.hapi.Server --server.port="$port" >"$log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$out/$port.pid"
trap 'kill "$pid" 2>/dev/null || true; exit 1' INT TERM

await_server HAPI "$pid" "$log"
echo "pid=$pid url=$url log=$log"
