"""Finds the proxy that botocore uses for a URL, once for each line of standard input.

stdin, one JSON object per line: {"environment": {variable: value}, "url"}
stdout, one JSON line each: the URL of the proxy, or null
"""

import json
import os
import sys

from botocore.utils import get_environ_proxies

for line in sys.stdin:
    row = json.loads(line)
    os.environ.clear()
    os.environ.update(row["environment"])
    print(json.dumps(get_environ_proxies(row["url"]).get("https")), flush=True)
