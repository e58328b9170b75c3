# What the scripts in hapi/ and keycloak/ share: waiting for a server that was started, and ending it. Read with `.`.
# shellcheck shell=sh

# await_server NAME PID LOG - until `status` says 200. A server that ends, or takes longer than six minutes, is an error.
await_server() {
  tries=0
  until [ "$(status)" = 200 ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 720 ] || ! kill -0 "$2" 2>/dev/null; then
      echo "$1 did not start; its log ends:" >&2
      tail -n 30 "$3" >&2
      kill "$2" 2>/dev/null || true
      exit 1
    fi
    sleep 0.5
  done
}

# stop_server NAME PIDFILE PORT WORDS - ends it by its pid, if the command line of that process has the words.
stop_server() {
  [ -s "$2" ] || { echo "no $1 noted for port $3"; exit 0; }
  pid=$(cat "$2")
  # A pid may have been given to another process since: only a server with this very port is ended.
  if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -e "$4"; then
    kill "$pid"
    tries=0
    while kill -0 "$pid" 2>/dev/null; do
      tries=$((tries + 1))
      [ "$tries" -lt 50 ] || { kill -9 "$pid"; break; }
      sleep 0.2
    done
  fi
  rm -f "$2"
}
