"""When the admin of this site is loaded: with pages, not with commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.processes import Forked, run_manage
from tests.stacks import Stack

pytestmark = [pytest.mark.processes, pytest.mark.one_stack]


def test_a_command_starts_without_pages_and_admin(stack: Stack, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, django\n"
        "django.setup()\n"
        "from django.core.management import load_command_class\n"
        "command = load_command_class('approvals', 'decide')\n"
        "command.check(tags=command.requires_system_checks)\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    environment = stack.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    with Forked([script], environment=environment, name="script") as process:
        assert process.wait() == 0, process.output.text
        loaded = json.loads(process.output.text)
    assert "approvals.writer" in loaded
    pages = ("approvals.admin", "approvals.web.api.service", "approvals.web.pages", "orchestration.web")
    assert [name for name in loaded if name.startswith(pages)] == []


def test_what_an_app_registers_with_the_admin_is_checked_once(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "admin.py").write_text(
        "from django.contrib import admin\n"
        "from django.contrib.auth.models import Permission\n"
        "@admin.register(Permission)\n"
        "class PermissionAdmin(admin.ModelAdmin):\n"
        "    list_display = ('no_such_column',)\n"
    )
    own = {"SAYSO_APPS": "shop", "SAYSO_APPS_DIR": str(tmp_path)}
    checked = run_manage("check", environment=stack.environment | own)
    assert (checked.returncode, checked.stderr.count("admin.E108")) == (1, 1)
