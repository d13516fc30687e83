"""Django's settings under test: the installation's own, whatever the environment of whoever runs the tests.

`tests.conftest` swaps database and channel layer for those of the stack under test.
"""

import atexit
import shutil
import tempfile

from tests.processes import bare_environment
from tests.stacks import SECRET_KEY, installation_settings

_var = tempfile.mkdtemp(prefix="sayso-tests-")
atexit.register(shutil.rmtree, _var)

UNSTACKED = installation_settings(bare_environment() | {"SAYSO_VAR": _var, "SAYSO_SECRET_KEY": SECRET_KEY})
globals().update(UNSTACKED)

# Tests of either engine run in one process, which has the queue's tables.
INSTALLED_APPS = [*UNSTACKED["INSTALLED_APPS"], "procrastinate.contrib.django"]

# Passwords are not what is tested, and the real hashers are slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A test makes a client or several, and each would read all static files first: they are found when asked for.
WHITENOISE_AUTOREFRESH = True
