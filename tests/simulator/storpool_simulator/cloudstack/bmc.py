# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake baseboard management controllers: one for each host, at an address of its own. What a management server asks of them, they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..store import Document
    from .cloud import Cloud

ON, OFF = "on", "off"


class BmcError(Exception):
    """No answer, or refused; the text is what the driver would tell."""


class Bmcs:
    def __init__(self, cloud: Cloud) -> None:
        self.table = cloud.table("bmc")

    def add(self, address: str, user: str, password: str) -> Document:
        document = {"address": address, "power": ON, "broken": False, "user": user, "password": password, "losses": 0}
        self.table.put(address, document)
        return document

    def count_loss(self, address: str) -> None:
        """The host behind it lost its power: for good, or for the moment of a reset or cycle."""
        self.table.change(address, losses=self.table[address].get("losses", 0) + 1)

    def _reach(self, address: str, user: str, password: str) -> Document:
        bmc = self.table.get(address)
        if bmc is None or bmc["broken"]:
            raise BmcError("Error: Unable to establish IPMI v2 / RMCP+ session")
        if (user, password) != (bmc["user"], bmc["password"]):
            raise BmcError("Error: Unable to establish IPMI v2 / RMCP+ session: authentication failed")
        return bmc

    def status(self, address: str, user: str, password: str) -> str:
        return self._reach(address, user, password)["power"]

    def switch(self, address: str, user: str, password: str, power: str) -> None:
        bmc = self._reach(address, user, password)
        self.table.change(bmc["address"], power=power)

    def set_password(self, address: str, user: str, password: str, new: str) -> None:
        bmc = self._reach(address, user, password)
        self.table.change(bmc["address"], password=new)
