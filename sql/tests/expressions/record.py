#!/usr/bin/env python3
"""Records what PostgreSQL 15 says to every expression of the golden files beside this script.

usage: record.py [psql options] < nothing; connection by PGHOST, PGPORT, PGUSER.

A line is `expression => result`. Several rows are joined by ` | `, NULL is `NULL`, an error is `ERROR <SQLSTATE>: <message>`.
Lines that begin with `#` are comments; `# timezone: <name>` sets the session's zone for the rest of the file.
Lines that begin with `!` hold what Meridian answers differently on purpose; they are kept as they are.
"""
import pathlib
import subprocess

SETUP = r"""
set client_min_messages = error; set timezone = 'UTC'; set lc_messages = 'C';
create function pg_temp.record(query text) returns text language plpgsql as $f$
declare r text; m text; s text;
begin
  execute 'select string_agg(case when x is null then ''NULL'' else format(''%s'', x) end, '' | '') from (' || query || ') t(x)' into r;
  return replace(coalesce(r, '(no rows)'), E'\n', '\n');
exception when others then
  get stacked diagnostics m = message_text, s = returned_sqlstate;
  return replace('ERROR ' || s || ': ' || m, E'\n', '\n');
end $f$;
"""


def record(path):
    lines = path.read_text().splitlines()
    script = SETUP
    for line in lines:
        if line.startswith("# timezone: "):
            script += f"set timezone = '{line[12:]}';\n"
        elif line and not line.startswith(("#", "!")):
            expression = line.split(" => ")[0]
            script += f"select pg_temp.record($q$select {expression}$q$);\n"
    out = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1"], input=script, text=True, capture_output=True)
    if out.returncode:
        raise SystemExit(out.stderr)
    answers = iter(out.stdout.splitlines())
    result = []
    for line in lines:
        if line and not line.startswith(("#", "!")):
            line = f"{line.split(' => ')[0]} => {next(answers)}"
        result.append(line)
    path.write_text("\n".join(result) + "\n")


for path in sorted(pathlib.Path(__file__).parent.glob("*.txt")):
    record(path)
