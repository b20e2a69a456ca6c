"""Parameters by their declared types: a tree of texts becomes a struct, or an error that names the parameter as Stripe does.

    class CreateIntent(Params):
        amount: Units
        currency: Currency
        metadata: Metadata | UnsetType | None = UNSET
        REFUSED: ClassVar[Refusals] = {"application_fee_amount": "fees are set by the merchant's plan."}

    read = reader(CreateIntent, form=True)
    read({"amount": "1.5"}, "")         # Invalid: "Invalid integer: 1.5", code parameter_invalid_integer, param amount

Each type is compiled once into a function `(raw, at) -> value`, `at` being the name in brackets (`line_items[0][price]`).
The same declaration makes the OpenAPI schema (`openapi.py`), so what is documented is what is read.

Empty text: Stripe takes `description=` as "unset it".  A field that allows None becomes None (clear it); any other cannot be
unset, which is `parameter_invalid_empty`, as there; a map's values may be empty (metadata: delete this key).
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec import inspect as mi

from guilder.core.amount import EXPONENT, MAX
from guilder.core.check import must, never
from guilder.core.errors import Invalid
from guilder.core.ids import ALPHABET, LENGTH
from guilder.core.page import MAX_LIMIT, Between, PageQuery
from guilder.platform.web.form import MAX_NAME, Repeated, echo

Reader = Callable[[Any, str], Any]
Refusals = Mapping[str, str | tuple[str, str]]  # name -> why, or (code, why)

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INDEX = re.compile(r"[0-9]{1,6}")
_HIDDEN = "(it is not repeated)"
_BOOLEANS = {"true": True, "false": False}


class Params(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a call takes.  `REFUSED` lists parameters that Stripe has and we do not honour: refused by name, with the reason."""

    REFUSED: ClassVar[Refusals] = {}


def id_of(prefix: str) -> Meta:
    """A parameter that names one of our things: `customer: Annotated[str, id_of("cus")]`."""
    says = f"It must be an id that begins with {prefix}_."
    return Meta(pattern=f"^{prefix}_[{ALPHABET}]{{{LENGTH}}}$", extra={"code": "resource_missing", "says": says})


Units = Annotated[int, Meta(ge=1, le=MAX, examples=[1250], extra={"over": "amount_too_large"})]
Currency = Annotated[
    str,
    Meta(
        pattern="^({})$".format("|".join(sorted(a.lower() for a in EXPONENT))),
        examples=["cny"],
        extra={"says": f"Supported currencies: {', '.join(sorted(a.lower() for a in EXPONENT))}."},
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=5000)]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[!-~]{1,2000}$",
        extra={"code": "url_invalid", "says": "It must be an absolute http or https URL."},
    ),
]
# A password, a token, a code: no error repeats it, however wrong it is.
Secret = Annotated[
    str, Meta(min_length=1, max_length=5000, extra={"secret": "yes"}, extra_json_schema={"format": "password"})
]
UnixTime = Annotated[int, Meta(ge=0, le=253_402_300_799)]  # 9999-12-31, where datetime ends
MetadataKey = Annotated[
    str, Meta(pattern=r"^[^\[\]\x00]{1,40}$", extra={"says": "Keys have 1 to 40 characters and no brackets."})
]
MetadataValue = Annotated[str, Meta(max_length=500)]
MAX_METADATA = 50
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=MAX_METADATA)]
Expand = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=20)]


class CreatedRange(Params):
    """Bounds of `created`, in unix seconds: `created[gte]=1790000000`."""

    gt: UnixTime | UnsetType = UNSET
    gte: UnixTime | UnsetType = UNSET
    lt: UnixTime | UnsetType = UNSET
    lte: UnixTime | UnsetType = UNSET


class ListParams(Params):
    """What every list takes; add filters by inheriting."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many things to return.")] = 10
    starting_after: (
        Annotated[Text, Meta(description="The id of the last thing you have: older things follow.")] | UnsetType
    ) = UNSET
    ending_before: (
        Annotated[Text, Meta(description="The id of the first thing you have: newer things precede.")] | UnsetType
    ) = UNSET
    created: UnixTime | CreatedRange | UnsetType = UNSET

    @property
    def page(self) -> PageQuery:
        """The part of the list that was asked for."""
        created = self.created
        match created:
            case CreatedRange():
                bounds = {
                    name: value for name in ("gt", "gte", "lt", "lte") if (value := getattr(created, name)) is not UNSET
                }
                between = Between(**bounds)
            case int():
                between = Between(gte=created, lte=created)
            case _:
                between = Between()
        return PageQuery(self.limit, self.starting_after or None, self.ending_before or None, between)


def merge_metadata(held: Mapping[str, str], change: Mapping[str, str] | UnsetType | None) -> dict[str, str]:
    """Metadata after an update: an empty value deletes its key, None deletes all.  Invalid above 50 keys."""
    if change is None:
        return {}
    merged = {name: value for name, value in {**held, **(change or {})}.items() if value != ""}
    if len(merged) > MAX_METADATA:
        raise Invalid(f"Metadata may have at most {MAX_METADATA} keys.", param="metadata")
    return merged


# ------------------------------------------------------------------------------------------------ compiling


@cache
def reader(kind: Any, *, form: bool) -> Reader:
    """The function that reads `kind` from a form's tree of texts or from JSON."""
    return _compile(mi.type_info(kind), form)


def _compile(t: mi.Type, form: bool, extra: Mapping[str, str] | None = None) -> Reader:
    extra = extra or {}
    match t:
        case mi.Metadata():
            return _compile(t.type, form, {**extra, **(t.extra or {})})
        case mi.StructType():
            return _struct(t, form)
        case mi.UnionType():
            return _union(t, form)
        case mi.IntType():
            return _integer(t, form, extra)
        case mi.BoolType():
            return _boolean(form)
        case mi.StrType():
            return _string(t, extra)
        case mi.LiteralType():
            return _literal(t)
        case mi.ListType():
            return _array(t, form)
        case mi.DictType():
            return _map(t, form)
    never(f"{t} cannot be a parameter")


def _struct(t: mi.StructType, form: bool) -> Reader:
    cls = t.cls
    refused: Refusals = getattr(cls, "REFUSED", {})
    fields = {}
    for f in t.fields:
        kinds = f.type.types if isinstance(f.type, mi.UnionType) else (f.type,)
        nullable = any(isinstance(k, mi.NoneType) for k in kinds)
        unsettable = nullable and (form or any(_is_plain_text(k) for k in kinds))
        fields[f.encode_name] = (f.name, _compile(f.type, form), unsettable)
    required = [f.encode_name for f in t.fields if f.required]

    def read(raw: Any, at: str) -> Any:
        if type(raw) is not dict:
            raise _wrong(raw, at, "object")
        if refused and not refused.keys().isdisjoint(raw):  # first, so that no other complaint hides card data
            name = next(name for name in raw if name in refused)
            raise _unknown(refused[name], f"{at}[{name}]" if at else name)
        values = {}
        for name, part in raw.items():
            child = f"{at}[{name}]" if at else name
            field = fields.get(name)
            if field is None:
                raise _unknown(None, child)
            attribute, read_part, unsettable = field
            values[attribute] = None if part == "" and unsettable else read_part(part, child)
        for name in required:
            if name not in raw:
                child = f"{at}[{name}]" if at else name
                raise Invalid(f"Missing required param: {child}.", code="parameter_missing", param=child)
        return cls(**values)

    return read


def _is_plain_text(t: mi.Type) -> bool:
    """Whether the schema lets JSON say "" here; then it means what it means in a form."""
    t = t.type if isinstance(t, mi.Metadata) else t
    return isinstance(t, mi.StrType) and not t.min_length and t.pattern is None


def _unknown(refusal: str | tuple[str, str] | None, at: str) -> Invalid:
    at = echo(at, MAX_NAME)
    if refusal is None:
        return Invalid(f"Received unknown parameter: {at}", code="parameter_unknown", param=at)
    code, why = refusal if isinstance(refusal, tuple) else ("parameter_unsupported", refusal)
    return Invalid(f"The parameter {at} is refused: {why}", code=code, param=at)


def _empty(at: str) -> Invalid:
    return Invalid(
        f"You passed an empty string for '{at}'. We assume empty values are an attempt to unset a parameter; however "
        f"'{at}' cannot be unset. You should remove '{at}' from your request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=at,
    )


def _wrong(raw: Any, at: str, noun: str, code: str | None = None) -> Invalid:
    """`raw` is no `noun`: empty, given twice, or of another type."""
    if raw == "":
        return _empty(at)
    if type(raw) is Repeated:
        return Invalid(f"Parameter {at} is given more than once.", param=at)
    shown = {dict: "an object", list: "an array"}.get(type(raw)) or ("null" if raw is None else echo(raw))
    return Invalid(f"Invalid {noun}: {shown}", code=code, param=at)


def _union(t: mi.UnionType, form: bool) -> Reader:
    """One of a value, an object and a list: what was given decides which."""
    options: dict[type, Reader] = {}
    nullable = False
    for option in t.types:
        bare = option.type if isinstance(option, mi.Metadata) else option
        if isinstance(bare, mi.NoneType):
            nullable = not form
        else:
            shapes: dict[type, type] = {mi.StructType: dict, mi.DictType: dict, mi.ListType: list}
            shape = shapes.get(type(bare), str)
            must(shape not in options, f"{t} has two options that look alike")
            options[shape] = _compile(option, form)
    only = next(iter(options.values()))
    if len(options) == 1 and not nullable:
        return only

    def read(raw: Any, at: str) -> Any:
        if raw is None and nullable:
            return None
        shape = dict if type(raw) is dict else list if isinstance(raw, list) else str
        return options.get(shape, only)(raw, at)

    return read


def _integer(t: mi.IntType, form: bool, extra: Mapping[str, str]) -> Reader:
    code = "parameter_invalid_integer"
    least, most = t.ge, t.le
    over = extra.get("over", code)

    def read(raw: Any, at: str) -> int:
        if form:
            if type(raw) is not str or not _INTEGER.fullmatch(raw):
                raise _wrong(raw, at, "integer", code)
            value = int(raw)
        elif type(raw) is int:
            value = raw
        elif type(raw) is float and raw.is_integer():  # 1.0 is an integer to JSON Schema, so it is to us
            value = int(raw)
        else:
            raise _wrong(raw, at, "integer", code)
        if least is not None and value < least:
            raise Invalid(f"This value must be greater than or equal to {least}.", code=code, param=at)
        if most is not None and value > most:
            raise Invalid(f"This value must be less than or equal to {most}.", code=over, param=at)
        return value

    return read


def _boolean(form: bool) -> Reader:
    def read(raw: Any, at: str) -> bool:
        value = (_BOOLEANS.get(raw) if type(raw) is str else None) if form else raw
        if type(value) is not bool:
            raise _wrong(raw, at, "boolean")
        return value

    return read


def _string(t: mi.StrType, extra: Mapping[str, str]) -> Reader:
    shortest, longest = t.min_length or 0, t.max_length
    # ECMA's `$` ends the text; Python's would let a line break follow.
    pattern = re.compile(re.sub(r"\$$", r"\\Z", t.pattern)) if t.pattern else None
    code, says = extra.get("code"), extra.get("says", "")
    secret = "secret" in extra

    def read(raw: Any, at: str) -> str:
        if type(raw) is not str:
            raise _wrong(_HIDDEN if secret and type(raw) is not Repeated else raw, at, "string")
        if longest is not None and len(raw) > longest:
            raise Invalid(
                f"Invalid string: {_HIDDEN if secret else echo(raw)}; must be at most {longest} characters. {says}".rstrip(),
                param=at,
            )
        if len(raw) < shortest:
            raise _empty(at)
        if pattern is not None and not pattern.search(raw):
            raise Invalid(f"Invalid {at}: {echo(raw)}. {says}".rstrip(), code=code, param=at)
        return raw

    return read


def _literal(t: mi.LiteralType) -> Reader:
    must(all(type(v) is str for v in t.values), "a literal parameter is one of some texts")
    allowed = frozenset(t.values)
    listed = ", ".join(str(v) for v in t.values[:-1]) + (" or " if len(t.values) > 1 else "") + str(t.values[-1])

    def read(raw: Any, at: str) -> str:
        if type(raw) is not str:
            raise _wrong(raw, at, "string")
        if raw not in allowed:
            if raw == "":
                raise _empty(at)
            raise Invalid(f"Invalid {at}: must be one of {listed}", param=at)
        return raw

    return read


def _array(t: mi.ListType, form: bool) -> Reader:
    item, least, most = _compile(t.item_type, form), t.min_length or 0, t.max_length

    def read(raw: Any, at: str) -> list[Any]:
        parts = _listed(raw, at) if form else raw
        if type(parts) is not list:
            raise _wrong(raw, at, "array")
        if len(parts) < least:
            raise Invalid(f"Invalid array: it must have at least {least} elements.", param=at)
        if most is not None and len(parts) > most:
            raise Invalid(f"Invalid array: it may have at most {most} elements.", param=at)
        return [item(part, f"{at}[{i}]") for i, part in enumerate(parts)]

    return read


def _listed(raw: Any, at: str) -> list[Any]:
    """A form's list in any of its spellings: `a=1&a=2`, `a[]=1&a[]=2`, `a[0]=1&a[1]=2` (as the SDKs send it)."""
    if type(raw) is dict:
        if raw.keys() == {""}:
            raw = raw[""]
        elif all(_INDEX.fullmatch(i) for i in raw):
            places = sorted((int(i), i) for i in raw)
            if len({place for place, _ in places}) == len(places):
                return [raw[i] for _, i in places]
            raise Invalid(f"Parameter {at} has an element that is given more than once.", param=at)
        else:
            raise _wrong(raw, at, "array")
    elif raw == "":
        raise _empty(at)
    return list(raw) if type(raw) is Repeated else [raw]


def _map(t: mi.DictType, form: bool) -> Reader:
    read_name, read_value, most = _compile(t.key_type, form), _compile(t.value_type, form), t.max_length

    def read(raw: Any, at: str) -> dict[str, Any]:
        if type(raw) is not dict:
            raise _wrong(raw, at, "object")
        if most is not None and len(raw) > most:
            raise Invalid(f"Invalid object: {at} may have at most {most} keys.", param=at)
        values = {}
        for name, part in raw.items():
            child = f"{at}[{echo(name)}]"
            values[read_name(name, child)] = read_value(part, child)
        return values

    return read
