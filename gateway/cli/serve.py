"""`fhir-gateway serve`: opens nothing until the configuration and every policy were found right."""

import asyncio
import gc
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop

from gateway import exhausted
from gateway.app import Application, build
from gateway.cli import serve_process, serve_workers
from gateway.config import Config, ConfigErrors, load
from gateway.errors import GatewayError
from gateway.observe import logging
from gateway.policy.problems import PolicyErrors
from gateway.saga.journal_port import JournalUnavailable

EXIT_INTERNAL = 1
EXIT_WRONG = 3

_log = structlog.get_logger("serve")


def serve(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("gateway.yaml"),
) -> None:
    """Run the gateway until SIGTERM. SIGHUP loads the policies again.

    Example: fhir-gateway serve --config gateway.yaml
    """
    # Everything that is created from here on (journal, decision log) is for this user alone.
    os.umask(0o077)
    serve_process.forbid_core_dumps()
    exhausted.prepare()
    logging.configure()
    worker = serve_workers.WorkerPlace.from_environment(os.environ)
    try:
        settings = load(config, os.environ)
        if worker is not None and worker.only_check:
            build(settings)
            return
        if worker is not None:
            uvloop.run(serve_workers.run_one_of_several(_built(settings), settings, worker))
        elif settings.workers > 1:
            _supervise(settings, config)
        else:
            _serve_alone(settings)
    except ConfigErrors as errors:
        _give_up(str(problem) for problem in errors.problems)
    except PolicyErrors as errors:
        _give_up(str(problem) for problem in errors.problems)
    except JournalUnavailable as error:
        sys.stderr.write(f"fhir-gateway: the journal: {error.reason} (deploy/RUNBOOK.md: FhirGatewayJournalFailing)\n")
        raise typer.Exit(EXIT_INTERNAL) from None
    except (GatewayError, OSError) as error:
        # An address in use, a file that cannot be written: the operator's to mend, so without a traceback.
        sys.stderr.write(f"fhir-gateway: {error}\n")
        raise typer.Exit(EXIT_INTERNAL) from None


def _give_up(problems: Iterable[str]) -> None:
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    raise typer.Exit(EXIT_WRONG)


def _built(settings: Config) -> Application:
    """The application, with the collector at rest until it has started: nearly all that is made until then stays."""
    gc.disable()
    return build(settings)


def _warn(settings: Config) -> None:
    for name in settings.unsafe_settings:
        _log.warning("config.unsafe_setting", setting=name)


def _serve_alone(settings: Config) -> None:
    application = _built(settings)
    _warn(settings)
    clients = serve_process.bind(settings.listen.address)
    admin = serve_process.bind(settings.admin)
    uvloop.run(serve_process.run_worker(application, clients, admin, tls=settings.listen.tls))


def _supervise(settings: Config, config: Path) -> None:
    code = serve_workers.check_in_a_process_of_its_own(config)
    if code:
        raise typer.Exit(code)
    _warn(settings)
    clients = serve_process.bind(settings.listen.address)
    admin = serve_process.bind(settings.admin)
    asyncio.run(serve_workers.supervise(settings, config, clients, admin))
