# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""In the place of StorPool's command: lists, answered by the API that this host's configuration names. `-j` prints JSON."""

import json
import sys
import urllib.error
import urllib.request

from storpool_configuration import read

CALLS = {("service", "list"): "ServicesList", ("attach", "list"): "AttachmentsList", ("location", "list"): "LocationsList"}


def main():
    words = sys.argv[1:]
    as_json = "-j" in words
    call = CALLS.get(tuple(word for word in words if word != "-j"))
    if call is None:
        sys.exit(f"storpool: this stand-in knows {', '.join(' '.join(one) for one in CALLS)}")
    values = read()
    try:
        address = f"http://{values['SP_API_HTTP_HOST']}:{values.get('SP_API_HTTP_PORT', 81)}/ctrl/1.0/{call}"
        request = urllib.request.Request(address, headers={"Authorization": f"Storpool v1:{values['SP_AUTH_TOKEN']}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            document = json.load(answer)
    except KeyError as missing:
        sys.exit(f"storpool: {missing} is not configured")
    except urllib.error.HTTPError as refused:
        print(refused.read().decode())
        sys.exit(1)
    except (OSError, ValueError) as why:
        sys.exit(f"storpool: {why}")
    print(json.dumps(document) if as_json else json.dumps(document["data"], indent=2))


main()
