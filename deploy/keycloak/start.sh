#!/bin/sh
# start.sh PORT - a real Keycloak on http://127.0.0.1:PORT with the realm `push` of this folder; its data is gone when it
# stops. Fetched and built once into the cache. Prints pid, issuer and log. Needs Java 17, Maven, curl, unzip, flock.
#   CACHE  distribution, log and pid files (default ~/.cache/fhir-policy-gateway)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../real-server.sh"
port=${1:?the port to listen on}
version=26.7.3
out=${CACHE:-$HOME/.cache/fhir-policy-gateway}/keycloak
home=$out/keycloak-$version
issuer=http://127.0.0.1:$port/realms/push
mkdir -p "$out"

status() { curl -s -o /dev/null -m 5 -w '%{http_code}' "$issuer" || true; }
[ "$(status)" = 000 ] || { echo "port $port already answers" >&2; exit 1; }

(
  flock 9 # two starts at once share one build
  if [ ! -e "$home/.built" ]; then
    artifact=org.keycloak:keycloak-quarkus-dist:$version:zip
    {
      mvn -q -B dependency:get -Dartifact=$artifact -Dtransitive=false &&
        mvn -q -B dependency:copy -Dartifact=$artifact -DoutputDirectory="$out" &&
        rm -rf "$home" && unzip -q "$out/keycloak-quarkus-dist-$version.zip" -d "$out" &&
        "$home/bin/kc.sh" build --db=dev-mem --cache=local
    } >"$out/build.log" 2>&1 || { tail -n 30 "$out/build.log" >&2; exit 1; }
    touch "$home/.built"
  fi
  mkdir -p "$home/data/import"
  cp "$here/push-realm.json" "$home/data/import/push-realm.json"
) 9>"$out/lock"

log=$out/$port.log
setsid "$home/bin/kc.sh" start --optimized --import-realm --http-enabled=true --http-host=127.0.0.1 \
  --http-port="$port" --hostname="http://127.0.0.1:$port" --log-level=warn >"$log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$out/$port.pid"
trap 'kill "$pid" 2>/dev/null || true; exit 1' INT TERM

await_server Keycloak "$pid" "$log"
echo "pid=$pid issuer=$issuer log=$log"
