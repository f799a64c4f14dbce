# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Floor 4: what virtual machines are cloned from: CloudStack's templates, or images where there is no CloudStack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import _storpool as sp
from .._errors import OptionError
from .._plan import Plan
from .cached_template import CACHED_TEMPLATES, WantedCache
from .image import IMAGES, WantedImage

# Options that only one of the two ways has.
_OF_IMAGES = ("format", "checksum", "template", "client", "device_directory", "verify", "progress_file", "tags")
_OF_CLOUDSTACK = ("id", "filter", "zone", "pools", "keep", "evict")


class TemplateCache:
    """Both ways in one: an entry with ``image`` needs only StorPool, any other is about CloudStack's templates."""

    kind = "template"
    in_parts = True  # a template may be declared on one pool in one entry and on another in the next

    def parse(self, options: Mapping[str, Any], now: float) -> WantedImage | WantedCache:
        """Return what is wanted of one template or image. :raises OptionError: names the option that cannot be meant."""
        of_image = options["image"] is not None
        for option in _OF_CLOUDSTACK if of_image else _OF_IMAGES:
            if options[option]:
                raise OptionError(option, options[option], f"{'cannot be combined with' if of_image else 'is only for'} image")
        return IMAGES.parse(options) if of_image else CACHED_TEMPLATES.parse(options)

    def observe(self, client: Any, wanted: Sequence[WantedImage | WantedCache]) -> dict[type, Any]:
        """Return the worlds in which something is declared."""
        images = [one for one in wanted if isinstance(one, WantedImage)]
        templates = [one for one in wanted if isinstance(one, WantedCache)]
        found: dict[type, Any] = {}
        if images:
            found[WantedImage] = IMAGES.observe(client if isinstance(client, sp.StorPool) else client.storpool, images)
        if templates:
            found[WantedCache] = CACHED_TEMPLATES.observe(client, templates)
        return found

    def spread(self, wanted: Sequence[WantedImage | WantedCache], world: Mapping[type, Any]) -> list[WantedImage | WantedCache]:
        """Return the templates that filters mean, in the order of what was declared."""
        found: list[WantedImage | WantedCache] = []
        for one in wanted:
            found += CACHED_TEMPLATES.spread([one], world[WantedCache]) if isinstance(one, WantedCache) else [one]
        return found

    def plan(self, wanted: WantedImage | WantedCache, world: Mapping[type, Any]) -> Plan:
        """Return the plan for one template or image."""
        return (IMAGES if isinstance(wanted, WantedImage) else CACHED_TEMPLATES).plan(wanted, world[type(wanted)])

    def predict(self, world: Mapping[type, Any], wanted: WantedImage | WantedCache, plan: Plan) -> None:
        """Nothing that one becomes matters to another."""

    def foresee(self, client: sp.StorPool, wanted: WantedImage | WantedCache, plan: Plan, world: Mapping[type, Any]) -> None:
        """Enter the snapshot of an image. What CloudStack will have is entered for all modules alike (:mod:`.cloud_foresight`)."""
        if isinstance(wanted, WantedImage):
            IMAGES.foresee(client, wanted, plan, world[WantedImage])

    def show(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a template or image for the diff."""
        return IMAGES.show(document) if "checksum" in document else CACHED_TEMPLATES.show(document)


TEMPLATE_CACHE = TemplateCache()
