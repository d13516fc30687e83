from django.db import migrations

MAKE = """
CREATE OR REPLACE FUNCTION sayso_gather_statistics() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT AS $$ BEGIN ANALYZE procrastinate_jobs; END $$
"""
DROP = "DROP FUNCTION sayso_gather_statistics()"


def on_postgresql(statement):
    def run(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(statement)

    return run


class Migration(migrations.Migration):
    """Who owns the queue lets the application gather its statistics."""

    dependencies = [("orchestration", "0004_retention")]
    operations = [migrations.RunPython(on_postgresql(MAKE), on_postgresql(DROP))]
