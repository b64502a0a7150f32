"""What an alembic revision does to a database that is in use, read from its source without running it (pure).

Classes: ``expand`` (releases before it go on working, nothing is lost by staying), ``data`` (changes rows),
``contract`` (an older release may fail afterwards, or data goes), ``irreversible`` (like contract, and it has no way
back), ``unknown`` (could not be read; treated as contract). The file may say it itself: ``floyo_class = "contract"``.

Conservative: conditions, loops over what is computed, foreign functions and computed SQL are ``unknown``, whatever seems
to be inside. A loop over literals is read turn by turn, a function of the same file where it is called.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from ..errors import Unusable
from .sql import Effect, constant_default, sql_effects

__all__ = ["CLASSES", "DOWNGRADES", "Classification", "classify"]

CLASSES = ("expand", "data", "contract", "irreversible", "unknown")
# clean: gives the schema back and drops nothing; lossy: drops or rewrites rows; noop: empty although upgrade() is not;
# unknown: could not be read, gives back a part only, or fails as soon as there are rows.
DOWNGRADES = ("clean", "lossy", "noop", "irreversible", "unknown")
_SEVERITY = {"expand": 0, "data": 1, "unknown": 2, "contract": 3}


@dataclass(frozen=True)
class Classification:
    """The verdict on one revision file."""

    kind: str
    reasons: list[str]
    operations: list[str]
    drops: list[str]
    downgrade: str
    downgrade_reason: str
    downgrade_loses: list[str]
    autocommit: bool


def classify(module: ast.Module) -> Classification:
    """Judge the parsed source of one revision file."""
    source = _Source(module)
    upgrade = source.read("upgrade")
    downgrade = source.read("downgrade")
    marker = source.marker
    kind = max((effect.kind for effect in upgrade.effects), key=_SEVERITY.__getitem__, default="expand")
    way_back, why = _way_back(upgrade, downgrade)
    if (way_back == "irreversible" and kind != "expand") or (way_back == "noop" and kind == "contract"):
        kind = "irreversible"
    reasons = [
        effect.what
        for effect in upgrade.effects
        if effect.kind == kind or (kind == "irreversible" and effect.kind != "expand")
    ]
    if marker:
        reasons = [f"the file says floyo_class = {marker!r}"]
    return Classification(
        kind=marker or kind,
        reasons=_unique(reasons),
        operations=_unique(effect.what for effect in upgrade.effects),
        drops=_unique(effect.loses for effect in upgrade.effects if effect.loses),
        downgrade=way_back,
        downgrade_reason=why,
        downgrade_loses=_unique(effect.loses for effect in downgrade.effects if effect.loses),
        autocommit=upgrade.autocommit or downgrade.autocommit,
    )


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _way_back(upgrade: _Function, downgrade: _Function) -> tuple[str, str]:
    """How the downgrade is to be called, and why when it is neither clean nor lossy."""
    if not downgrade.present:
        return "irreversible", "there is none"
    if downgrade.raises and not downgrade.effects:
        return "irreversible", "it raises an error"
    if not downgrade.effects:
        return ("noop", "it is empty") if upgrade.effects else ("clean", "")
    strange = [effect.what for effect in downgrade.effects if effect.kind == "unknown" and not effect.understood]
    if downgrade.raises or strange:
        return "unknown", ", ".join(_unique(strange)[:3]) or "it may raise an error"
    fails = [effect.what for effect in downgrade.effects if effect.needs_no_rows]
    if fails:
        return "unknown", f"{fails[0]}: fails when there are rows"
    left = _left(upgrade.effects, downgrade.effects)
    if left:
        return "unknown", f"it leaves {', '.join(sorted(left)[:3])} as it is"
    loses = any(effect.loses or effect.kind == "data" for effect in downgrade.effects)
    return ("lossy" if loses else "clean"), ""


def _left(upgrade: list[Effect], downgrade: list[Effect]) -> set[str]:
    """Tables and columns that the upgrade makes or drops and the downgrade does not drop or make."""
    made, gone = _things(upgrade)
    made_again, gone_again = _things(downgrade)
    left = {thing for thing in made - gone_again if _table_of(thing) not in gone_again}
    return left | (gone - made_again - made)


def _things(effects: list[Effect]) -> tuple[set[str], set[str]]:
    """``table t`` and ``column t.c``: those that are made and those that go."""
    made = {effect.makes.lower() for effect in effects}
    gone = {effect.loses.lower() for effect in effects if re.fullmatch(r"(table|column) [^ ]+", effect.loses)}
    return {thing for thing in made if thing and "?" not in thing}, {thing for thing in gone if "?" not in thing}


def _table_of(thing: str) -> str:
    return "table " + thing.partition(" ")[2].rpartition(".")[0]


@dataclass
class _Function:
    present: bool = False
    raises: bool = False
    autocommit: bool = False
    effects: list[Effect] = field(default_factory=list)


# Calls of op and of a batch that change nothing by themselves.
_NEUTRAL_OPS = {"get_bind", "get_context", "f", "inline_literal", "create_table_comment", "drop_table_comment"}
# Calls anywhere that only compute, print or log.
_NEUTRAL_CALLS = {
    "print",
    "str",
    "int",
    "len",
    "repr",
    "sorted",
    "dict",
    "list",
    "set",
    "tuple",
    "range",
    "bool",
    "dedent",
    "cleandoc",
}
_NEUTRAL_MODULES = {"Decimal", "date", "datetime", "decimal", "json", "timedelta", "timezone", "uuid", "uuid4"}
_LOG_NAMES = {"log", "_log", "logger", "_logger", "logging"}
_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "log", "critical"}
_SCHEMA_LIBRARIES = {"sqlalchemy", "sqlalchemy_utils", "geoalchemy2", "pgvector"}
_ENUM_NAMES = {"Enum", "ENUM"}
# Functions of SQLAlchemy that only describe something. Its classes do, too.
_BUILDERS = {
    "and_",
    "asc",
    "array",
    "bindparam",
    "case",
    "cast",
    "column",
    "delete",
    "desc",
    "distinct",
    "exists",
    "extract",
    "false",
    "insert",
    "inspect",
    "literal",
    "literal_column",
    "not_",
    "null",
    "or_",
    "quoted_name",
    "select",
    "table",
    "text",
    "true",
    "tuple_",
    "type_coerce",
    "union",
    "union_all",
    "update",
    "values",
}
_ROW_VERBS = {"insert", "update", "delete"}
# What acts on a database once it has a connection: nothing that starts with these is a mere description.
_ACTORS = {
    "Session",
    "AsyncSession",
    "sessionmaker",
    "scoped_session",
    "create_engine",
    "engine_from_config",
    "Connection",
    "orm",
}
_ACTING_METHODS = {
    "create_all",
    "drop_all",
    "execute",
    "create",
    "drop",
    "connect",
    "begin",
    "commit",
    "scalar",
    "scalars",
}

_TEXT_METHODS = {"strip", "format", "join", "lower", "upper", "bindparams", "isoformat", "is_"}
# Positional arguments that an operation may have: what comes after them means something else in each alembic.
_POSITIONAL = {"add_column": 2, "alter_column": 2, "create_index": 3}
_MOST_TURNS = 50
_UNKNOWN = ast.Constant(None)

_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class _Source:
    """One revision file: its imports, constants, and a reader of its two functions."""

    def __init__(self, module: ast.Module) -> None:
        self.module = module
        self.op_names: set[str] = set()  # what `op` is called here
        self.op_functions: dict[str, str] = {}  # from alembic.op import add_column as …
        self.library_names: set[str] = set()  # names that come from SQLAlchemy and only build objects
        self.functions: dict[str, ast.FunctionDef] = {}
        self.constants: dict[str, str] = {}
        self.values: dict[str, ast.expr] = {}
        self.imported_names: set[str] = set()
        self.loose: list[Effect] = []  # effects of module-level code
        self.marker = ""
        self._scan()

    def _scan(self) -> None:
        for statement in self.module.body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self.imported(statement)
            elif isinstance(statement, ast.FunctionDef):
                self.functions[statement.name] = statement
                if self.uses_op(statement.args):
                    self.loose.append(Effect("unknown", f"{statement.name}() works when the file is loaded"))
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                self._assigned(statement)
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            elif isinstance(statement, ast.ClassDef):
                if self.uses_op(statement):
                    self.loose.append(Effect("unknown", f"class {statement.name} works when the file is loaded"))
            elif not isinstance(statement, (*_Definition, ast.Pass)) and any(
                isinstance(node, ast.Call) for node in ast.walk(statement)
            ):
                self.loose.append(Effect("unknown", f"code outside upgrade() in line {statement.lineno}"))
            else:
                for name in _stored(statement):
                    self.constants.pop(name, None)
                    self.values[name] = _UNKNOWN
        shadowed = {name for name in self.functions if name in self.op_names} | {
            name for name in self.values if name in self.op_names
        }
        if shadowed:
            self.op_names -= shadowed
            self.loose.append(Effect("unknown", f"{', '.join(sorted(shadowed))} is given another meaning in the file"))

    def imported(self, statement: Union[ast.Import, ast.ImportFrom]) -> None:
        for alias in statement.names:
            name = alias.asname or alias.name.split(".")[0]
            self.imported_names.add(name)
            if isinstance(statement, ast.Import):
                if alias.name == "alembic.op" and alias.asname:
                    self.op_names.add(name)
                elif alias.name.split(".")[0] in _SCHEMA_LIBRARIES:
                    self.library_names.add(name)
            elif statement.module == "alembic" and alias.name == "op":
                self.op_names.add(name)
            elif statement.module == "alembic.op":
                self.op_functions[name] = alias.name
            elif (statement.module or "").split(".")[0] in _SCHEMA_LIBRARIES:
                self.library_names.add(name)

    def uses_op(self, node: ast.AST) -> bool:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        return not names.isdisjoint({*self.op_names, *self.op_functions})

    def _assigned(self, statement: Union[ast.Assign, ast.AnnAssign]) -> None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if statement.value is None:
            return
        for target in targets:
            if not isinstance(target, ast.Name):
                self.loose.append(Effect("unknown", f"line {statement.lineno} changes something outside this file"))
                continue
            self.values[target.id] = statement.value
            self.functions.pop(target.id, None)
            text = _text(statement.value, self.constants)
            if text is not None:
                self.constants[target.id] = text
            if target.id == "floyo_class":
                if text not in CLASSES:
                    raise Unusable(
                        f"floyo_class in line {statement.lineno} is {ast.unparse(statement.value)}",
                        code="CLASS_MARKER_INVALID",
                        expected=f"one of {', '.join(CLASSES)}",
                    )
                self.marker = text

    def read(self, name: str) -> _Function:
        """The effects of the function ``name``, with those of module-level code."""
        definition = self.functions.get(name)
        if definition is None:
            # From another file, or made by code: only a downgrade may be missing.
            there = name == "upgrade" or name in self.values or name in self.imported_names
            effects = [Effect("unknown", f"{name}() is not defined as a function of this file")] if there else []
            return _Function(present=there, effects=effects)
        reader = _Reader(self)
        reader.body(definition.body)
        effects = [*(self.loose if name == "upgrade" else []), *reader.effects]
        if reader.raises and name == "upgrade":
            effects.append(Effect("unknown", "raises an error"))
        if definition.decorator_list:
            effects.append(Effect("unknown", f"{name}() has a decorator"))
        return _Function(present=True, raises=reader.raises, autocommit=reader.autocommit, effects=effects)


def _text(node: Optional[ast.expr], names: dict[str, str]) -> Optional[str]:
    """The string a node surely stands for, or None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left, names), _text(node.right, names)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.JoinedStr):
        parts = [_text(part.value if isinstance(part, ast.FormattedValue) else part, names) for part in node.values]
        plain = all(
            part.conversion == -1 and not part.format_spec
            for part in node.values
            if isinstance(part, ast.FormattedValue)
        )
        return "".join(part or "" for part in parts) if plain and None not in parts else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return _filled(str.__mod__, _text(node.left, names), _texts(node.right, names))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        values = None if node.keywords else _texts(ast.Tuple(node.args), names)
        return _filled(lambda form, given: form.format(*given), _text(node.func.value, names), values)
    if (
        isinstance(node, ast.Call)
        and _last_name(node.func) in ("text", "dedent", "cleandoc", "quoted_name")
        and node.args
    ):
        return _text(node.args[0], names)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("strip", "bindparams")
    ):
        return _text(node.func.value, names)
    return None


def _texts(node: ast.expr, names: dict[str, str]) -> Optional[tuple[str, ...]]:
    values = [_text(part, names) for part in (node.elts if isinstance(node, ast.Tuple) else [node])]
    return None if None in values else tuple(value for value in values if value is not None)


def _filled(
    fill: Callable[[str, tuple[str, ...]], str], form: Optional[str], values: Optional[tuple[str, ...]]
) -> Optional[str]:
    try:
        return None if form is None or values is None else fill(form, values)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None  # not with these values: it fails when it runs


_PLACE = re.compile(r"\{\w*\}|%s|%\(\w+\)s")


def _fixed_parts(node: ast.expr) -> str:
    """The text a computed string surely contains, a name where something is put in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return _PLACE.sub("x", " x ".join(texts))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _root_name(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> Optional[ast.expr]:
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _argument(call: ast.Call, position: int, name: str) -> Optional[ast.expr]:
    if len(call.args) > position and not any(
        isinstance(argument, ast.Starred) for argument in call.args[: position + 1]
    ):
        return call.args[position]
    return _keyword(call, name)


def _stored(node: ast.AST) -> set[str]:
    """Names that get a value somewhere inside."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}


def _literal_texts(node: Optional[ast.expr]) -> Optional[list[ast.expr]]:
    """The elements of a tuple or list that is written out."""
    if isinstance(node, (ast.Tuple, ast.List)) and not any(isinstance(part, ast.Starred) for part in node.elts):
        return node.elts
    return None


def _is_true(node: Optional[ast.expr]) -> Optional[bool]:
    """True or False for the literals (and a missing argument), None for what cannot be known."""
    if node is None:
        return False
    if isinstance(node, ast.Constant) and isinstance(node.value, (bool, type(None))):
        return bool(node.value)
    return None


class _Reader:
    """Walks the statements of one function and collects what they do."""

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.constants = dict(source.constants)
        self.values = dict(source.values)
        self.batches: dict[str, str] = {}  # batch object -> its table
        self.binds: set[str] = set()  # names of connections
        self.new_tables: set[str] = set()
        self.local: set[str] = set()  # functions that are defined on the way
        self.effects: list[Effect] = []
        self.inside: tuple[str, ...] = ()  # functions of this file that are being read
        self.describing = False  # inside the arguments of an operation
        self.raises = False
        self.autocommit = False

    # --- statements ---------------------------------------------------------------------------------------------------

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Expr):
            self.expression(node.value)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            self.assignment(node)
        elif isinstance(node, ast.With):
            self.block(node)
        elif isinstance(node, ast.Raise):
            self.raises = True
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self.source.imported(node)
            for alias in node.names:
                self.constants.pop(alias.asname or alias.name, None)
        elif isinstance(node, ast.Return) and node.value is not None:
            self.expression(node.value)
        elif isinstance(node, ast.ClassDef):
            if self.source.uses_op(node):
                self.effects.append(Effect("unknown", f"class {node.name} works when it is defined"))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.local.add(node.name)  # it does nothing until it is called, and then it is unknown
        elif not isinstance(node, (ast.Pass, ast.Return)) and not (isinstance(node, ast.For) and self.turns(node)):
            self.branch(node)

    def turns(self, node: ast.For) -> bool:
        """Read a loop over literals, one turn after the other; False when it is another loop."""
        value = self.values.get(node.iter.id) if isinstance(node.iter, ast.Name) else node.iter
        elements = _literal_texts(value)
        leaves = any(isinstance(part, (ast.Break, ast.Continue, ast.Return)) for part in ast.walk(node))
        if elements is None or len(elements) > _MOST_TURNS or node.orelse or leaves:
            return False
        for element in elements:
            targets, parts = [node.target], [element]
            if isinstance(node.target, ast.Tuple):
                targets, parts = node.target.elts, _literal_texts(element) or []
            if len(targets) != len(parts) or not all(isinstance(target, ast.Name) for target in targets):
                return False
        for element in elements:
            targets, parts = [node.target], [element]
            if isinstance(node.target, ast.Tuple):
                targets, parts = node.target.elts, _literal_texts(element) or []
            for target, part in zip(targets, parts):
                self.named(getattr(target, "id", ""), part)
            self.body(node.body)
        return True

    def branch(self, node: ast.stmt) -> None:
        """A loop, condition or try block: what it certainly contains, and that nobody knows how often."""
        for name in _stored(node):
            self.named(name, _UNKNOWN)  # nobody knows which value it has, here and afterwards
        inner = self.fork()
        inner.new_tables = set()
        for _, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                inner.any_node(child)
        self.autocommit = self.autocommit or inner.autocommit
        self.raises = self.raises or inner.raises
        if inner.effects or inner.raises:
            word = type(node).__name__.lower()
            self.effects.append(Effect("unknown", f"steps inside a {word} block in line {node.lineno}"))
            self.effects.extend(effect for effect in inner.effects if effect not in self.effects)

    def any_node(self, node: Any) -> None:
        """A part of a compound statement: a statement, an expression, or what holds some (a handler, a case)."""
        if isinstance(node, ast.stmt):
            self.statement(node)
        elif isinstance(node, ast.expr):
            self.expression(node)
        elif isinstance(node, ast.AST):
            for child in ast.iter_child_nodes(node):
                self.any_node(child)

    def fork(self) -> _Reader:
        """A reader that starts with what is known here, and whose findings are its own."""
        inner = _Reader(self.source)
        inner.constants, inner.values, inner.batches = dict(self.constants), dict(self.values), dict(self.batches)
        inner.binds, inner.new_tables, inner.local = set(self.binds), set(self.new_tables), set(self.local)
        inner.inside = self.inside
        return inner

    def named(self, name: str, value: ast.expr) -> None:
        """``name`` stands for ``value`` from here on."""
        text, is_bind = _text(value, self.constants), self.is_bind(value)
        self.constants.pop(name, None)
        self.batches.pop(name, None)
        self.binds.discard(name)
        self.values[name] = value
        if text is not None:
            self.constants[name] = text
        if is_bind:
            self.binds.add(name)

    def assignment(self, node: Union[ast.Assign, ast.AnnAssign]) -> None:
        if node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        self.source.library_names.difference_update(names)
        if len(names) < len(targets) or any(name in self.source.op_names for name in names):
            self.effects.append(Effect("unknown", f"line {node.lineno} changes something outside this function"))
        self.expression(node.value)
        for name in names:
            self.named(name, node.value)

    def block(self, node: ast.With) -> None:
        for item in node.items:
            call = item.context_expr
            name = item.optional_vars.id if isinstance(item.optional_vars, ast.Name) else ""
            if isinstance(call, ast.Call) and self.op_method(call) == "batch_alter_table":
                table = self.in_schema(_text(_argument(call, 0, "table_name"), self.constants) or "?", call)
                self.batches[name] = table
                recreate = _keyword(call, "recreate")
                if recreate is not None and _text(recreate, self.constants) not in ("auto", "never"):
                    self.effects.append(Effect("contract", f"copy table {table} anew"))
            elif isinstance(call, ast.Call) and _last_name(call.func) == "autocommit_block":
                self.autocommit = True
            else:
                self.effects.append(Effect("unknown", f"with {ast.unparse(call)[:60]}"))
        self.body(node.body)

    # --- expressions --------------------------------------------------------------------------------------------------

    def is_bind(self, node: ast.expr) -> bool:
        """Whether the node is the migration's connection."""
        if isinstance(node, ast.Name):
            return node.id in self.binds
        if isinstance(node, ast.Call):
            return self.op_method(node) == "get_bind"
        if isinstance(node, ast.Attribute):
            return (
                node.attr in ("bind", "connection")
                and isinstance(node.value, ast.Call)
                and self.op_method(node.value) == "get_context"
            )
        return False

    def op_method(self, call: ast.Call) -> str:
        """The name of alembic's operation that is called, or nothing."""
        function = call.func
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id in self.source.op_names
        ):
            return function.attr
        if isinstance(function, ast.Name):
            return self.source.op_functions.get(function.id, "")
        return ""

    def expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Call):
            self.call(node)
            return
        if isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
            self.named(node.target.id, _UNKNOWN)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.expression(child)
            elif isinstance(child, ast.comprehension) and any(isinstance(part, ast.Call) for part in ast.walk(node)):
                self.effects.append(Effect("unknown", f"steps inside a comprehension in line {node.lineno}"))

    def call(self, node: ast.Call) -> None:
        method = self.op_method(node)
        function = node.func
        if method:
            self.operation(method, node, table=None)
        elif (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id in self.batches
        ):
            self.operation(function.attr, node, table=self.batches[function.value.id])
        elif isinstance(function, ast.Attribute) and self.is_bind(function.value):
            self.on_connection(function.attr, node)
        elif (
            isinstance(function, ast.Attribute) and self.is_enum(function.value) and function.attr in ("create", "drop")
        ):
            made = function.attr == "create"
            self.effects.append(
                Effect("expand" if made else "contract", f"{function.attr} type {self.enum_name(function.value)}")
            )
        elif self.is_own(function):
            self.own_function(self.source.functions[_last_name(function)], node)
        elif self.is_harmless(node):
            self.arguments(node)
            if isinstance(function, ast.Attribute):
                self.expression(function.value)
        else:
            self.effects.append(Effect("unknown", f"calls {ast.unparse(function)[:60]}() in line {node.lineno}"))

    def is_own(self, function: ast.expr) -> bool:
        """A function of this file that is not being read already."""
        return (
            isinstance(function, ast.Name)
            and function.id in self.source.functions
            and function.id not in {*self.local, *self.inside, *self.values}
        )

    def arguments(self, node: ast.Call) -> None:
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.expression(argument)

    def own_function(self, definition: ast.FunctionDef, node: ast.Call) -> None:
        """A call of a function of this file: what its body does with these arguments."""
        self.arguments(node)
        inner = self.fork()
        inner.inside = (*self.inside, definition.name)
        parameters = definition.args
        given = dict(zip([part.arg for part in [*parameters.posonlyargs, *parameters.args]], node.args))
        given.update({keyword.arg: keyword.value for keyword in node.keywords if keyword.arg})
        every = [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs, parameters.vararg, parameters.kwarg]
        known = {name: self.resolved(value) for name, value in given.items()}
        for name in [part.arg for part in every if part is not None]:
            inner.named(name, known.get(name, _UNKNOWN))
        if any(isinstance(part, ast.Starred) for part in node.args) or definition.decorator_list:
            self.effects.append(Effect("unknown", f"calls {definition.name}() in line {node.lineno}"))
        inner.body(definition.body)
        self.effects.extend(inner.effects)
        self.new_tables |= inner.new_tables
        self.autocommit, self.raises = self.autocommit or inner.autocommit, self.raises or inner.raises

    def resolved(self, node: ast.expr) -> ast.expr:
        """What a name stands for, as far as that can be said outside its function."""
        text = _text(node, self.constants)
        if text is not None:
            return ast.Constant(text)
        return self.values.get(node.id, _UNKNOWN) if isinstance(node, ast.Name) else node

    def is_enum(self, node: ast.expr) -> bool:
        value = self.values.get(node.id) if isinstance(node, ast.Name) else node
        return (
            isinstance(value, ast.Call)
            and _last_name(value.func) in _ENUM_NAMES
            and _root_name(value.func) in self.source.library_names
        )

    def enum_name(self, node: ast.expr) -> str:
        value = self.values.get(node.id) if isinstance(node, ast.Name) else node
        return (_text(_keyword(value, "name"), self.constants) if isinstance(value, ast.Call) else None) or "?"

    def is_harmless(self, node: ast.Call) -> bool:
        """Builds an object or prints: SQLAlchemy's constructors, logging, a few builtins."""
        function, root = node.func, _root_name(node.func)
        name = _last_name(function)
        if isinstance(function, ast.Name) and name in _NEUTRAL_CALLS:
            return name not in self.source.functions and name not in self.local
        if root in _LOG_NAMES:
            return name in _LOG_METHODS
        if root in _NEUTRAL_MODULES and root in self.source.imported_names:
            return True
        if self.describing and name[:1].isupper() and name not in _ACTORS:
            return True  # a type of the application's own
        if root in self.source.library_names:
            return self.describes(function)
        value = self.values.get(root)
        if isinstance(value, ast.Call) and _last_name(value.func) in ("table", "Table"):
            return _root_name(value.func) in self.source.library_names and name not in _ACTING_METHODS
        return isinstance(function, ast.Attribute) and name in _TEXT_METHODS

    def describes(self, function: ast.expr) -> bool:
        """Whether a call of SQLAlchemy only describes: ``sa.Column(...)``, ``sa.table(...).update().values(...)``."""
        chain = {_last_name(part) for part in ast.walk(function) if isinstance(part, (ast.Name, ast.Attribute))}
        if not chain.isdisjoint(_ACTORS) or _last_name(function) in _ACTING_METHODS:
            return False
        first = function
        for part in ast.walk(function):
            if isinstance(part, ast.Call):
                first = part.func  # the innermost call comes last
        path = {_last_name(part) for part in ast.walk(first) if isinstance(part, (ast.Name, ast.Attribute))}
        name = _last_name(first)
        return name[:1].isupper() or name in _BUILDERS or "func" in path

    def on_connection(self, method: str, node: ast.Call) -> None:
        if method in ("execute", "exec_driver_sql", "scalar", "scalars"):
            self.executed(node)
        else:
            self.effects.append(Effect("unknown", f"connection.{method}() in line {node.lineno}"))

    def executed(self, node: ast.Call) -> None:
        """op.execute and its relatives."""
        argument = _argument(node, 0, "sqltext") or _argument(node, 0, "statement")
        if argument is None:
            self.effects.append(Effect("unknown", f"executes something in line {node.lineno}"))
            return
        text = _text(argument, self.constants)
        if text is not None:
            self.effects.extend(sql_effects(text, new_tables=self.new_tables))
            return
        value = self.values.get(argument.id) if isinstance(argument, ast.Name) else argument
        if isinstance(value, ast.Call):
            construct = self.construct(value)
            if construct:
                self.effects.append(construct)
                return
        if value is not None:
            # Computed text: what it surely contains can only make it worse.
            self.effects.extend(
                effect for effect in sql_effects(_fixed_parts(value)) if effect.kind in ("contract", "data")
            )
        self.effects.append(Effect("unknown", f"executes computed SQL in line {node.lineno}"))

    def construct(self, node: ast.Call) -> Optional[Effect]:
        """An SQLAlchemy statement: table.update()…, sa.delete(table)…, CreateSequence(…)."""
        names = {_last_name(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
        for verb in sorted(_ROW_VERBS & names):
            return Effect("data", f"{verb} rows in line {node.lineno}", "rows" if verb == "delete" else "")
        if _root_name(node.func) not in self.source.library_names:
            return None
        name = _last_name(node.func)
        if name in ("CreateSequence", "CreateSchema", "CreateTable"):
            return Effect("expand", f"{name} in line {node.lineno}")
        if name.startswith("Drop"):
            return Effect("contract", f"{name} in line {node.lineno}", f"what {name} in line {node.lineno} drops")
        return None

    # --- alembic's operations -----------------------------------------------------------------------------------------

    def operation(self, method: str, node: ast.Call, table: Optional[str]) -> None:
        """One op.x(…) (``table`` None) or batch_op.x(…)."""
        if method in _NEUTRAL_OPS:
            return
        if method == "execute":
            self.executed(node)
            return
        self.describing = True
        self.arguments(node)
        self.describing = False
        if not method.startswith("drop") and self.is_computed(method, node, in_batch=table is not None):
            self.effects.append(Effect("unknown", f"{method} with computed arguments in line {node.lineno}"))
            return
        handler = getattr(self, f"op_{method}", None)
        if handler:
            handler(node, table)
        elif method.startswith("drop_"):
            self.effects.append(Effect("contract", f"{method.replace('_', ' ')} {self.first(node)}"))
        else:
            self.effects.append(Effect("unknown", f"{method} in line {node.lineno}"))

    @staticmethod
    def is_computed(method: str, node: ast.Call, *, in_batch: bool) -> bool:
        """Whether it cannot be seen which arguments there are. The columns of a new table do not matter."""
        if any(keyword.arg is None for keyword in node.keywords):
            return True
        if method == "create_table":
            return False
        most = _POSITIONAL.get(method, len(node.args) + 1) - in_batch
        return len(node.args) > most or any(isinstance(part, ast.Starred) for part in node.args)

    def first(self, node: ast.Call, position: int = 0) -> str:
        argument = (
            node.args[position] if len(node.args) > position else node.keywords[0].value if node.keywords else None
        )
        inner = (
            argument.args[0]
            if isinstance(argument, ast.Call) and self.op_method(argument) == "f" and argument.args
            else argument
        )
        return _text(inner, self.constants) or "?"

    def table_of(self, node: ast.Call, position: int, name: str, table: Optional[str]) -> str:
        """The table an operation is about: given by the batch, or its argument."""
        if table is not None:
            return table
        return self.in_schema(_text(_argument(node, position, name), self.constants) or "?", node)

    def in_schema(self, table: str, node: ast.Call) -> str:
        schema = _keyword(node, "schema") or _keyword(node, "source_schema")
        if schema is None or (isinstance(schema, ast.Constant) and schema.value is None):
            return table
        return f"{_text(schema, self.constants) or '?'}.{table}"

    def fresh(self, table: str) -> bool:
        """Whether nobody uses the table yet. What has no certain name is taken for one in use."""
        return table in self.new_tables and "?" not in table

    def op_create_table(self, node: ast.Call, table: Optional[str]) -> None:
        name = self.in_schema(self.first(node), node)
        if any(keyword.arg in ("postgresql_inherits", "prefixes") for keyword in node.keywords):
            self.effects.append(Effect("unknown", f"create table {name} as a part of another"))
            return
        if _is_true(_keyword(node, "if_not_exists")) is False:
            self.new_tables.add(name)  # otherwise it may be an old one
        self.effects.append(Effect("expand", f"create table {name}", makes=f"table {name}"))

    def op_drop_table(self, node: ast.Call, table: Optional[str]) -> None:
        name = self.in_schema(self.first(node), node)
        self.effects.append(Effect("contract", f"drop table {name}", f"table {name}"))

    def op_drop_column(self, node: ast.Call, table: Optional[str]) -> None:
        where = self.table_of(node, 0, "table_name", table)
        column = _text(_argument(node, 0 if table is not None else 1, "column_name"), self.constants) or "?"
        self.effects.append(Effect("contract", f"drop column {where}.{column}", f"column {where}.{column}"))

    def op_rename_table(self, node: ast.Call, table: Optional[str]) -> None:
        self.effects.append(Effect("contract", f"rename table {self.first(node)}"))

    def op_add_column(self, node: ast.Call, table: Optional[str]) -> None:
        where = self.table_of(node, 0, "table_name", table)
        column = _argument(node, 0 if table is not None else 1, "column")
        if isinstance(column, ast.Name):
            column = self.values.get(column.id)
        self.effects.append(self.added_column(column, where))

    def added_column(self, column: Optional[ast.expr], table: str) -> Effect:
        if (
            not isinstance(column, ast.Call)
            or _last_name(column.func) != "Column"
            or _root_name(column.func) not in self.source.library_names
        ):
            return Effect("unknown", f"add a column to {table} that is described elsewhere")
        what = f"add column {table}.{self.first(column)}"
        if any(keyword.arg is None for keyword in column.keywords) or any(
            isinstance(part, ast.Starred) for part in column.args
        ):
            return Effect("unknown", f"{what} with computed arguments")
        if self.fresh(table):
            return Effect("expand", what)
        primary, unique = _is_true(_keyword(column, "primary_key")), _is_true(_keyword(column, "unique"))
        nullable = _keyword(column, "nullable")
        may_be_null = True if nullable is None else _is_true(nullable)
        if primary is None or unique is None or may_be_null is None:
            return Effect("unknown", f"{what} with computed arguments")
        if primary or unique:
            return Effect("contract", f"{what}, {'primary key' if primary else 'unique'}")
        default = _keyword(column, "server_default")
        has_default = default is not None and not self.is_null(default)
        makes = f"column {table}.{self.first(column)}"
        if not may_be_null and not has_default:
            return Effect("contract", f"{what}, NOT NULL without server_default", makes=makes, needs_no_rows=True)
        if any(
            isinstance(part, ast.Call) and _last_name(part.func) in ("Computed", "Identity", "CheckConstraint")
            for part in column.args
        ):
            return Effect("unknown", f"{what}: rewrites or checks the whole table")
        if has_default and not self.constant_value(default):
            return Effect("unknown", f"{what}: its server_default may differ from row to row, which rewrites the table")
        return Effect("expand", what, makes=makes)

    def is_null(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call) and _last_name(node.func) == "null":
            return True
        text = _text(node, self.constants) if isinstance(node, ast.Call) else None
        return (isinstance(node, ast.Constant) and node.value is None) or (text or "").strip().upper() == "NULL"

    def constant_value(self, node: Optional[ast.expr]) -> bool:
        """Whether a server_default is one value for all rows."""
        if isinstance(node, ast.Call):
            name = _last_name(node.func)
            if name in ("false", "true", "now", "current_timestamp", "current_date"):
                return True
            if name in ("text", "literal_column"):
                text = _text(node.args[0], self.constants) if node.args else None
                return text is not None and constant_default(text)
            return False
        return _text(node, self.constants) is not None  # a plain string becomes a quoted literal

    def op_alter_column(self, node: ast.Call, table: Optional[str]) -> None:
        where = self.table_of(node, 0, "table_name", table)
        column = _text(_argument(node, 0 if table is not None else 1, "column_name"), self.constants) or "?"
        name = f"{where}.{column}"
        if self.fresh(where):
            self.effects.append(Effect("expand", f"shape the new table {where}"))
            return
        for keyword in node.keywords:
            effect = self.altered(keyword, name)
            if effect:
                self.effects.append(effect)

    def altered(self, keyword: ast.keyword, name: str) -> Optional[Effect]:
        option, value = keyword.arg or "", keyword.value
        if option.startswith("existing_") or option in ("schema", "comment", "table_name", "column_name"):
            return None
        if option == "new_column_name":
            return Effect("contract", f"rename column {name}")
        if option == "type_":
            return Effect("contract", f"change the type of {name}", f"what the change of type cuts off in {name}")
        if option == "nullable":
            may_be_null = _is_true(value)
            if may_be_null is False and not (isinstance(value, ast.Constant) and value.value is None):
                return Effect("contract", f"set {name} NOT NULL")
            what = f"let {name} be NULL: an older release may not expect it"
            return Effect("unknown", what, understood=may_be_null is True)
        if option == "server_default":
            if isinstance(value, ast.Constant) and value.value in (None, False):
                return Effect("contract", f"drop the default of {name}") if value.value is None else None
            return Effect("expand", f"set the default of {name}")
        return Effect("unknown", f"alter column {name}: {option}")

    def op_create_index(self, node: ast.Call, table: Optional[str]) -> None:
        where = self.table_of(node, 1, "table_name", table)
        unique = _is_true(_keyword(node, "unique"))
        if self.fresh(where) or unique is False:
            self.effects.append(Effect("expand", f"create an index on {where}"))
        else:
            self.effects.append(Effect("contract" if unique else "unknown", f"demand unique values in {where}"))

    def constraint(self, what: str, where: str) -> None:
        kind = "expand" if self.fresh(where) else "contract"
        self.effects.append(Effect(kind, f"{what} on {where}"))

    def op_create_unique_constraint(self, node: ast.Call, table: Optional[str]) -> None:
        self.constraint("unique constraint", self.table_of(node, 1, "table_name", table))

    def op_create_primary_key(self, node: ast.Call, table: Optional[str]) -> None:
        self.constraint("primary key", self.table_of(node, 1, "table_name", table))

    def op_create_check_constraint(self, node: ast.Call, table: Optional[str]) -> None:
        self.constraint("check constraint", self.table_of(node, 1, "table_name", table))

    def op_create_exclude_constraint(self, node: ast.Call, table: Optional[str]) -> None:
        self.constraint("exclusion constraint", self.table_of(node, 1, "table_name", table))

    def op_create_foreign_key(self, node: ast.Call, table: Optional[str]) -> None:
        self.constraint("foreign key", self.table_of(node, 1, "source_table", table))

    def op_bulk_insert(self, node: ast.Call, table: Optional[str]) -> None:
        target = node.args[0] if node.args else None
        value = self.values.get(target.id) if isinstance(target, ast.Name) else target
        name = self.first(value) if isinstance(value, ast.Call) else "?"
        self.effects.append(Effect("expand" if self.fresh(name) else "data", f"insert rows into {name}"))
