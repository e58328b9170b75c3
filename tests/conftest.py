"""What every test shares."""

from hypothesis import HealthCheck, settings

# A shared machine is slow at times: a deadline per example would only test the machine.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("steady")
