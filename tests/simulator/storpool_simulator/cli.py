# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: storpool-simulator."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from .assumptions import Assumptions
from .cloudstack.assumptions import CloudAssumptions
from .cloudstack.facts import VERSIONS


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="storpool-simulator",
        description="StorPool clusters for tests: real HTTP, real bytes, state in SQLite, faults on demand.",
        epilog=f"assumptions:\n{Assumptions.described()}\nassumptions on CloudStack:\n{CloudAssumptions.described()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where everything is kept; a second start finds it again")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port of the first cluster, the next ones follow; 0 takes free ones (default)")
    parser.add_argument("--token", help="authorization token (default: made up at first start)")
    parser.add_argument("--topology", type=Path, metavar="FILE", help="locations and clusters, as the README tells")
    parser.add_argument("--cloudstack", choices=VERSIONS, metavar="VERSION", help="serve a CloudStack of this version too: %(choices)s")
    parser.add_argument("--devices", choices=("auto", "loop", "link", "none"), default="auto", help="what attached volumes look like")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="a JSON list of faults that are there from the start")
    parser.add_argument("--assume", action="append", default=[], metavar="NAME=VALUE", help="settle what no source settles, see below")
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="write a file to source with host, port and token")
    arguments = parser.parse_args(argv)
    arguments.assumptions, arguments.cloud_assumptions = Assumptions(), CloudAssumptions()
    for one in arguments.assume:
        name, equals, value = one.partition("=")
        if not equals:
            parser.error(f"--assume takes NAME=VALUE, not {one!r}")
        try:
            (arguments.cloud_assumptions if name in CloudAssumptions.known() else arguments.assumptions).set(name, value)
        except ValueError as why:
            parser.error(str(why))
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for noisy in ("uvicorn", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    # Only now, so that --help and wrong options answer at once.
    import uvloop

    from .server import serve
    from .topology import Topology
    from .world import World

    try:
        topology = Topology.read(arguments.topology) if arguments.topology else None
        world = World(
            arguments.state,
            topology=topology,
            assume=arguments.assumptions,
            devices=arguments.devices,
            token=arguments.token,
            cloudstack=arguments.cloudstack,
            cloud_assume=arguments.cloud_assumptions,
        )
        if arguments.faults:
            for fault in json.loads(arguments.faults.read_text()):
                world.faults.add(fault)
    except (OSError, ValueError) as why:
        print(f"storpool-simulator: {why}", file=sys.stderr)
        return 2
    try:
        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(serve(world, arguments.host, arguments.port, arguments.env_file))
        finally:
            loop.close()
    except OSError as why:
        print(f"storpool-simulator: {why}", file=sys.stderr)
        return 2
    finally:
        world.close()
    return 0
