"""Python is started anew only where it must be: a fork (tests/forks.py) costs a fifth of it or less."""

from __future__ import annotations

import ast

from tests.architecture.sources import sources_of_tests

# Which file, which function in it (empty: all), and why a fork would not do.
ANEW = (
    ("adapters/desk.py", "start", "agents, which have nothing of ours but the client"),
    ("adapters/test_recipes.py", "", "programs of docs/recipes.md, which have nothing of ours"),
    ("adapters/test_mcp_gate.py", "", "servers of MCP, which have nothing of ours"),
    (
        "approvals/trail/test_earlier_formats.py",
        "said_by_the_program",
        "the program of docs/audit.md",
    ),
    (
        "approvals/delivery/test_chat.py",
        "test_nothing_of_it_is_imported_before_a_chat_is_written_to",
        "what it has loaded",
    ),
    ("approvals/process/test_forks.py", "", "a process that forks by itself"),
    (
        "approvals/testing/test_kit.py",
        "test_tests_of_a_project_pass_by_djangos_runner_and_by_pytest",
        "test runners, with files of their own",
    ),
    (
        "approvals/writer/test_queue.py",
        "test_what_was_handed_over_is_written_before_the_interpreter_exits",
        "its end",
    ),
    (
        "approvals/delivery/test_chat.py",
        "test_nothing_of_it_is_imported_before_a_chat_is_written_to",
        "what it has loaded",
    ),
    (
        "approvals/process/test_telemetry.py",
        "test_nothing_of_opentelemetry_is_loaded_then",
        "what it has loaded",
    ),
    ("architecture/test_habits.py", "test_importing_a_module_does_nothing", "what it has loaded"),
    ("architecture/test_interpreters.py", "", "the words looked for"),
    (
        "approvals/web/edge/test_proxies.py",
        "test_behind_uvicorn_nobody_on_this_computer_chooses_an_address",
        "another project's server, as docs/deployment.md starts it",
    ),
    ("architecture/test_terms.py", "test_a_new_term_goes_all_the_way", "modules with one term more"),
    ("config/test_own_apps.py", "test_apps_come_from_pythonpath_too", "PYTHONPATH"),
    (
        "orchestration/test_asgi.py",
        "test_every_server_executes_what_is_queued",
        "servers that start themselves",
    ),
    (
        "approvals/web/edge/test_proxies.py",
        "test_behind_uvicorn_nobody_on_this_computer_chooses_an_address",
        "likewise",
    ),
    (
        "faults/storm/installation.py",
        "_run_once",
        "the storm is a program for people, without tests around it",
    ),
    ("faults/test_storm.py", "test_a_short_storm_loses_nothing_and_doubles_nothing", "as people start it"),
    ("faults/test_storm.py", "test_the_plan_is_printed_without_a_storm", "as people start it"),
    ("journeys/test_api.py", "", "programs of docs/api.md, which have nothing of ours"),
    ("journeys/test_api_fuzzing.py", "test_the_api_answers_as_it_is_described", "another project's command"),
    ("journeys/test_auditor.py", "", "an auditor's shell, as in docs/audit.md"),
    ("journeys/test_client.py", "", "programs of other machines, which have nothing of ours"),
    ("journeys/test_first_day.py", "", "an administrator's shell, as in docs/first-day.md"),
    (
        "journeys/test_terminal.py",
        "test_demo_prepares_people_and_samples_that_wait",
        "README's first command",
    ),
    ("orchestration/agents/test_agents.py", "", "some program for an agent to run, with nothing of ours"),
    ("orchestration/agents/test_program.py", "", "some program for an agent to run, with nothing of ours"),
    ("host_projects.py", "build_wheel", "pip, which builds the wheel"),
    ("processes.py", "manage_anew", "for those above"),
    (
        "test_sharing.py",
        "test_files_stay_together_and_who_measures_is_alone",
        "pytest itself, with files of its own",
    ),
    ("test_stacks.py", "test_a_process_that_ends_early_says_what_it_printed", "with nothing of ours"),
)


def test_python_is_started_anew_only_where_it_must_be() -> None:
    """Start `manage.py` by the fixtures, or by tests.processes; whoever can't says why in the list above."""
    listed = {(f"tests/{path}", function) for path, function, _ in ANEW}
    started = {
        (source.path, function.name)
        for source in sources_of_tests()
        for function in source.nodes()
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if any(map(_starts_python, ast.walk(function)))
    }
    assert not [where for where in sorted(started) if where not in listed and (where[0], "") not in listed]
    whole = {path for path, _ in started}
    assert not [
        where for where in sorted(listed) if where not in started and (where[1] or where[0] not in whole)
    ]


def _starts_python(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name("sys"), attr="executable") | ast.Constant("python" | "python3"):
            return True
        case ast.keyword(arg="anew", value=ast.Constant(True)):
            return True
    return False
