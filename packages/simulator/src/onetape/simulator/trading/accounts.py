"""The balances of the account: a free and a locked amount for each asset."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from onetape.simulator.trading.ledger import Ledger
from onetape.simulator.trading.money import ZERO, format_money


@dataclass(slots=True)
class AssetBalance:
    """Balance of the account in one asset."""

    free: Decimal = ZERO
    """Amount that is not reserved for open orders."""
    locked: Decimal = ZERO
    """Amount reserved for open orders."""


class Overdrawn(Exception):
    """A change would make a balance negative.

    The exchange checks balances before each change, so this error shows a bug of the simulator.
    """


class SimulatedAccount:
    """All balances of the account. Each change is written to the ledger with its reason."""

    def __init__(self, ledger: Ledger) -> None:
        """Begin without a balance."""
        self._ledger = ledger
        self._balances: dict[str, AssetBalance] = {}
        self.updated_ms = 0
        """Time of the last change, epoch milliseconds."""

    def get_free(self, asset: str) -> Decimal:
        """Return the free amount: not reserved for orders."""
        found = self._balances.get(asset)
        return ZERO if found is None else found.free

    def get_locked(self, asset: str) -> Decimal:
        """Return the amount reserved for open orders."""
        found = self._balances.get(asset)
        return ZERO if found is None else found.locked

    def get_assets(self) -> list[str]:
        """Return the assets that were ever held, in alphabetical order."""
        return sorted(self._balances)

    def change(
        self,
        time_ms: int,
        asset: str,
        reason: str,
        *,
        free: Decimal = ZERO,
        locked: Decimal = ZERO,
        order_id: int | None = None,
    ) -> None:
        """Add amounts to the balances of an asset, and write a row to the ledger.

        Args:
            time_ms: Market time of the change, epoch milliseconds.
            asset: The asset, such as BTC.
            reason: Reason in the ledger, such as `trade` or `deposit`.
            free: Amount to add to the free balance; negative reduces it.
            locked: Amount to add to the locked balance; negative reduces it.
            order_id: Order that causes the change; None: no order.

        Raises:
            Overdrawn: the balance would be negative.
        """
        if not free and not locked:
            return
        balance = self._balances.setdefault(asset, AssetBalance())
        if balance.free + free < 0 or balance.locked + locked < 0:
            raise Overdrawn(f"{asset}: {balance} cannot take free {free:+f}, locked {locked:+f}")
        balance.free += free
        balance.locked += locked
        self.updated_ms = time_ms
        self._ledger.balances.append(
            {
                "n": len(self._ledger.balances),
                "time_ms": time_ms,
                "asset": asset,
                "reason": reason,
                "order_id": order_id,
                "free_change": format_money(free),
                "locked_change": format_money(locked),
                "free": format_money(balance.free),
                "locked": format_money(balance.locked),
            }
        )

    def get_rows(self, assets: Iterable[str]) -> list[tuple[str, Decimal, Decimal]]:
        """Return asset, free and locked amount of each of these assets."""
        return [(asset, self.get_free(asset), self.get_locked(asset)) for asset in assets]
