"""The clients that the sandbox's issuer knows; deploy/keycloak/push-realm.json has the same for a real one."""

from gateway.sandbox.issuer import SandboxClient

SCOPES = (
    "system/Observation.cu",
    "system/DiagnosticReport.cu",
    "system/Condition.cu",
    "system/Patient.cu",
    "system/*.cu",
    "system/Observation.rs",
    "system/Patient.rs",
    "system/*.rs",
)
CLIENTS = (
    SandboxClient(id="lab", secret="lab-secret", scopes=SCOPES, claims={"org_type": "lab"}),  # noqa: S106
    SandboxClient(id="clinic", secret="clinic-secret", scopes=SCOPES, claims={"org_type": "clinic"}),  # noqa: S106
)
