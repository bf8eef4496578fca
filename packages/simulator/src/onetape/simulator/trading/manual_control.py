"""HTTP endpoints for actions of a person on the account, its keys and the trading rules.

- `GET /simulator/account`: `{"balances": {"USDT": {"free": "1.0", "locked": "0.0"}}}`.
- `POST /simulator/account/deposit` and `/withdraw` `{"asset": "BTC", "amount": "0.5"}`, and
  `/drain` `{"asset": "BNB"}`, which takes the whole free balance.
- `POST /simulator/account/buy` and `/sell` `{"symbol": "BTC/USDT", "quantity": "0.1"}`, or
  `"quote"` for a value: a market order by hand, with a client id that begins with `web_`.
- `POST /simulator/account/place`: an order of any type, with the parameters of `/api/v3/order`.
- `POST /simulator/account/cancel` `{"symbol": "BTC/USDT"}`: all its open orders, or one by
  `"order_id"` or `"client_order_id"`.
- `POST /simulator/account/dust` `{"assets": ["DOGE"]}`: turns their free balances into BNB.
- `POST /simulator/account/fees` `{"in_bnb": true}`.
- `POST /simulator/account/rules` `{"symbol": "BTC/USDT", "price_step": "0.1", "amount_step":
  "0.001", "min_notional": "10", "max_market_quantity": "50"}`: values that are omitted stay.
- `GET /simulator/keys`: every key and its rights. `POST /simulator/keys/create` `{"key", "secret"}`
  and rights, `/change` `{"key", "trading": false, "withdrawals": true}`, `/rotate` `{"key",
  "new_key", "secret"}` (the old key is refused from then on), `/revoke` `{"key"}`.
- `GET /simulator/ledger/orders`, `/fills`, `/balances` and `/events`: all rows so far.

Amounts are decimals as strings. A refusal by the exchange is returned as on Binance's endpoints.
"""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any, Final, cast

from aiohttp import web

from onetape.core.errors import UsageError
from onetape.simulator.market.symbols import UnknownSymbol
from onetape.simulator.server.wire import JsonObject, format_json, parse_json
from onetape.simulator.trading.account_service import AccountService, parse_amount, parse_asset_name
from onetape.simulator.trading.keys import ApiKey
from onetape.simulator.trading.money import format_money
from onetape.simulator.trading.replies import make_order_reply

#: Lists of the ledger that can be read.
LEDGERS: Final = ("orders", "fills", "balances", "events")
_ACCOUNT_USAGE: Final = (
    'deposit and withdraw {"asset": "BTC", "amount": "0.5"}, drain {"asset": "BNB"}, buy and sell '
    '{"symbol": "BTC/USDT", "quantity": "0.1"} or with "quote", place (parameters of an order), '
    'cancel {"symbol": "BTC/USDT"}, dust {"assets": ["DOGE"]}, fees {"in_bnb": true}, and rules '
    '{"symbol": "BTC/USDT", "amount_step": "0.001"}'
)
_KEYS_USAGE: Final = (
    'create {"key": "k", "secret": "s", "trading": true}, change {"key": "k", "trading": false}, '
    'rotate {"key": "k", "new_key": "n", "secret": "s"}, and revoke {"key": "k"}'
)
#: Fields of a key that are rights.
_RIGHTS: Final = tuple(
    field.name for field in fields(ApiKey) if field.type is bool or field.type == "bool"
)


class ManualControl:
    """Endpoints under /simulator for the account, its keys and its ledger."""

    def __init__(self, account: AccountService) -> None:
        """Initialise with the account of the simulator."""
        self._account = account
        self._actions: dict[str, Callable[[JsonObject], JsonObject]] = {
            "deposit": lambda body: self._move(body, account.deposit),
            "withdraw": lambda body: self._move(body, account.withdraw),
            "drain": lambda body: {
                "amount": format_money(account.drain(parse_asset_name(body["asset"])))
            },
            "buy": lambda body: self._trade("BUY", body),
            "sell": lambda body: self._trade("SELL", body),
            "place": self._place,
            "cancel": self._cancel,
            "dust": self._convert_dust,
            "fees": self._change_fees,
            "rules": self._change_rules,
        }
        self._key_actions: dict[str, Callable[[JsonObject], JsonObject]] = {
            "create": self._create_key,
            "change": self._change_key,
            "rotate": self._rotate_key,
            "revoke": self._revoke_key,
        }

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints to an application."""
        app.router.add_get("/simulator/account", self._get_account)
        app.router.add_post("/simulator/account/{action}", self._post_account)
        app.router.add_get("/simulator/keys", self._get_keys)
        app.router.add_post("/simulator/keys/{action}", self._post_keys)
        app.router.add_get("/simulator/ledger/{name}", self._get_ledger)

    async def _get_account(self, request: web.Request) -> web.Response:
        del request
        return _make_json_response({"balances": self._account.get_balances()})

    async def _get_keys(self, request: web.Request) -> web.Response:
        del request
        return _make_json_response(
            {"keys": [_make_key_document(key) for key in self._account.keys.get_keys()]}
        )

    async def _get_ledger(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in LEDGERS:
            return _make_json_response(
                {"error": f"there are the ledgers {', '.join(LEDGERS)}"}, 404
            )
        self._account.get_balances()
        return _make_json_response(getattr(self._account.exchange.ledger, name))

    async def _post_account(self, request: web.Request) -> web.Response:
        def act(body: JsonObject) -> JsonObject:
            done = self._actions[request.match_info["action"]](body)
            return {**done, "balances": self._account.get_balances()}

        return await _run_action(request, act, _ACCOUNT_USAGE)

    async def _post_keys(self, request: web.Request) -> web.Response:
        return await _run_action(
            request, lambda body: self._key_actions[request.match_info["action"]](body), _KEYS_USAGE
        )

    def _move(self, body: JsonObject, act: Callable[..., None]) -> JsonObject:
        act(parse_asset_name(body["asset"]), parse_amount(body["amount"]))
        return {}

    def _trade(self, side: Any, body: JsonObject) -> JsonObject:
        quantity, quote = body.get("quantity"), body.get("quote")
        if (quantity is None) == (quote is None):
            raise ValueError("exactly one of quantity and quote must be given")
        order = self._account.trade_by_hand(
            side,
            str(body["symbol"]),
            quantity=None if quantity is None else parse_amount(quantity),
            quote=None if quote is None else parse_amount(quote),
        )
        return {"order": make_order_reply(order)}

    def _place(self, body: JsonObject) -> JsonObject:
        params = {name: str(value) for name, value in body.items()}
        params["symbol"] = params["symbol"].replace("/", "")
        return {"order": self._account.place_by_hand(params)}

    def _cancel(self, body: JsonObject) -> JsonObject:
        number, name = body.get("order_id"), body.get("client_order_id")
        canceled = self._account.cancel_by_hand(
            str(body["symbol"]),
            order_id=None if number is None else int(str(number)),
            client_id=None if name is None else str(name),
        )
        return {"canceled": canceled}

    def _convert_dust(self, body: JsonObject) -> JsonObject:
        assets = [parse_asset_name(asset) for asset in cast("list[object]", body["assets"])]
        return {"bnb": format_money(self._account.convert_dust(assets))}

    def _change_fees(self, body: JsonObject) -> JsonObject:
        self._account.pay_fees_in_bnb(_parse_boolean(body["in_bnb"]))
        return {"in_bnb": self._account.exchange.fees.in_bnb}

    def _change_rules(self, body: JsonObject) -> JsonObject:
        names = ("price_step", "amount_step", "min_notional", "max_market_quantity")
        changes = {name: parse_amount(body[name]) for name in names if name in body}
        if unknown := sorted(set(body) - {"symbol", *names}):
            raise KeyError(*unknown)
        if not changes:
            raise ValueError("no rule is given")
        rules = self._account.change_rules(str(body["symbol"]), **changes)
        return dict(zip(names, rules, strict=True))

    def _create_key(self, body: JsonObject) -> JsonObject:
        key = ApiKey(str(body["key"]), str(body["secret"]), **_parse_rights(body, "key", "secret"))
        self._account.keys.add(key)
        return _make_key_document(key)

    def _change_key(self, body: JsonObject) -> JsonObject:
        return _make_key_document(
            self._account.keys.change(str(body["key"]), **_parse_rights(body, "key"))
        )

    def _rotate_key(self, body: JsonObject) -> JsonObject:
        keys, old = self._account.keys, str(body["key"])
        new = replace(keys.get_key(old), key=str(body["new_key"]), secret=str(body["secret"]))
        keys.revoke(old)
        keys.add(new)
        return _make_key_document(new)

    def _revoke_key(self, body: JsonObject) -> JsonObject:
        self._account.keys.revoke(str(body["key"]))
        return {"revoked": str(body["key"])}


async def _run_action(
    request: web.Request, act: Callable[[JsonObject], JsonObject], usage: str
) -> web.Response:
    """Carry out the action of a request and return its reply; status 400: the body is not valid.

    Args:
        request: Request with a JSON object as its body.
        act: Carries out the action of a body.
        usage: Text with the valid bodies, for the error.
    """
    try:
        return _make_json_response(
            act(dict(cast("JsonObject", parse_json(await request.text() or "{}"))))
        )
    except UnknownSymbol as error:
        return _make_json_response({"error": f"there is no market {error}"}, 400)
    except (KeyError, TypeError, ValueError) as error:
        text = f"{request.path} with this body was not understood; there are {usage}"
        names = ", ".join(map(str, error.args))
        reason = f"missing or unknown: {names}" if isinstance(error, KeyError) else str(error)
        return _make_json_response({"error": text, "because": reason}, 400)
    except UsageError as error:
        return _make_json_response({"error": str(error)}, 400)


def _parse_rights(body: JsonObject, *others: str) -> dict[str, bool]:
    if set(body) - {*others, *_RIGHTS}:
        raise KeyError(*sorted(set(body) - {*others, *_RIGHTS}))
    return {name: _parse_boolean(body[name]) for name in _RIGHTS if name in body}


def _parse_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"true or false, found {value!r}")
    return value


def _make_key_document(key: ApiKey) -> JsonObject:
    """Return a key with its rights, without the secret."""
    return {name: value for name, value in asdict(key).items() if name != "secret"}


def _make_json_response(value: object, status: int = 200) -> web.Response:
    return web.Response(text=format_json(value), content_type="application/json", status=status)
