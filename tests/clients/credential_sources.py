"""Loads credentials with botocore's default chain, once for each line of standard input.

stdin, one JSON object per line: {"name", "environment": {variable: value}}
stdout, one JSON line each: {"name", "identity": access key id or null, "reason": text}

A null identity means an error, or that no credentials were found. Each line replaces the whole environment.
"""

import json
import os
import sys

import botocore.session

for line in sys.stdin:
    row = json.loads(line)
    os.environ.clear()
    os.environ.update(row["environment"])
    try:
        session = botocore.session.Session()
        # Every botocore client does this; it fails for a profile that does not exist.
        session.get_scoped_config()
        credentials = session.get_credentials()
        if credentials is None:
            identity, reason = None, "none found"
        else:
            identity = credentials.get_frozen_credentials().access_key
            reason = credentials.method
    except Exception as error:
        identity, reason = None, f"{type(error).__name__}: {error}"
    print(json.dumps({"name": row["name"], "identity": identity, "reason": reason}), flush=True)
