"""Runs CloudKitty's command-line client, Debian's unmodified one, many times in one process.

Each line of stdin is a JSON list, the words after `cloudkitty`. Each line of stdout is a JSON object with the exit code and
what the command printed. Credentials come from the environment (OS_*).
"""
import contextlib
import io
import json
import sys

from cloudkittyclient.shell import CloudKittyShell


def run(words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            shell = CloudKittyShell(words)
            shell.stdout, shell.stderr = out, err
            code = shell.run(words)
        except SystemExit as stop:
            code = stop.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
