"""What every test shares: the real parts as fixtures, and how hypothesis searches."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.real.fixtures", "tests.store.postgres"]

# Two shared cores make single examples slow at times without saying anything about the code.
settings.register_profile(
    "workstation", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples at every run, so that a red run on the server is red here as well.
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "workstation")
