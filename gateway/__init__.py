"""A reverse proxy that stands in front of a FHIR server and lets others push health records to it.

One write is a straight line, and every room of this package is a piece of it:

    ingress    accept the request, answer it                          (the clients' edge)
    fhir       interaction, resource, shape, reference, compartment   (pure vocabulary)
    identity   token -> Principal; scopes as an upper bound
    policy     policies x facts -> Decision; nothing else says "allow" (pure)
    pipeline   where the line is written down: dispatch, gather, read, write
    saga       intent -> settle: send, verify, commit or compensate   (one transition table)
    journal    the intents, durably
    upstream   the FHIR server as a port
    observe    metrics and decision log
    sandbox    a small honest FHIR server and issuer, for the demo and the tests
    cli, app, config   a file a verb; the composition root; the configuration

Everything that decides is a pure function of frozen values; everything that touches the world is an adapter
at the edge; `pipeline/` is the only place where they meet, and it reads top to bottom.
"""
