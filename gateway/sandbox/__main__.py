"""`python -m gateway.sandbox`: the FHIR server and the issuer on two loopback ports."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from starlette.types import ASGIApp

from gateway.sandbox.clients import CLIENTS
from gateway.sandbox.control import Control
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.issuer import SandboxIssuer
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.serving import serve_all
from gateway.sandbox.store import Store


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port of the FHIR server, at /fhir")
    parser.add_argument("--issuer-port", type=int, default=None, help="port of the issuer; left out: no issuer")
    parser.add_argument("--audience", default="http://127.0.0.1:8090/fhir", help="aud of every token")
    parser.add_argument("--lifetime", type=int, default=300, help="seconds that a token lives")
    parser.add_argument("--control", action="store_true", help="serve the switches below /__sandbox/")
    parser.add_argument("--quirks", default="{}", help='switches as JSON, for example {"stale_if_match_status": 409}')
    parser.add_argument("--hapi", action="store_true", help="start with HAPI's habits")
    parser.add_argument("--load", type=Path, nargs="*", default=[], help="resources to hold from the start")
    return parser.parse_args()


def main() -> None:
    """Serves until a signal comes."""
    arguments = _arguments()
    quirks = Quirks.hapi() if arguments.hapi else Quirks()
    store = Store(quirks=quirks.changed(json.loads(arguments.quirks)))
    for path in arguments.load:
        store.load(path.read_bytes())
    fhir = FhirServer(store, control=Control(store) if arguments.control else None)
    applications: list[tuple[ASGIApp, int]] = [(fhir, arguments.port)]
    sys.stderr.write(f"FHIR server: http://127.0.0.1:{arguments.port}/fhir\n")
    if arguments.issuer_port is not None:
        url = f"http://127.0.0.1:{arguments.issuer_port}"
        issuer = SandboxIssuer(url, audience=arguments.audience, clients=CLIENTS, lifetime=arguments.lifetime)
        applications.append((issuer.app, arguments.issuer_port))
        sys.stderr.write(f"issuer: {url}\n")
    asyncio.run(serve_all(applications))


if __name__ == "__main__":
    main()
