"""What an alembic revision does to a database that is in use, read from its source without running it (pure).

Classes: ``expand`` (releases before it go on working, nothing is lost by staying), ``data`` (changes rows),
``contract`` (an older release may fail afterwards, or data goes), ``irreversible`` (like contract, and it has no way
back), ``unknown`` (could not be read; treated as contract). The file may say it itself: ``floyo_class = "contract"``.

Conservative: loops, conditions, helper functions and computed SQL are ``unknown``, whatever seems to be inside.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional, Union

from ..errors import Unusable
from .sql import Effect, constant_default, sql_effects

__all__ = ["CLASSES", "DOWNGRADES", "Classification", "classify"]

CLASSES = ("expand", "data", "contract", "irreversible", "unknown")
# clean: gives the schema back and drops nothing; lossy: drops or rewrites rows; noop: empty although upgrade() is not.
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
    downgrade_loses: list[str]
    autocommit: bool


def classify(module: ast.Module) -> Classification:
    """Judge the parsed source of one revision file."""
    source = _Source(module)
    upgrade = source.read("upgrade")
    downgrade = source.read("downgrade")
    marker = source.marker
    kind = max((effect.kind for effect in upgrade.effects), key=_SEVERITY.__getitem__, default="expand")
    way_back = _downgrade_kind(upgrade, downgrade)
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
        downgrade_loses=_unique(effect.loses for effect in downgrade.effects if effect.loses),
        autocommit=upgrade.autocommit or downgrade.autocommit,
    )


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _downgrade_kind(upgrade: _Function, downgrade: _Function) -> str:
    if not downgrade.present or (downgrade.raises and not downgrade.effects):
        return "irreversible"
    if not downgrade.effects:
        return "noop" if upgrade.effects else "clean"
    if downgrade.raises or any(effect.kind == "unknown" for effect in downgrade.effects):
        return "unknown"
    loses = any(effect.loses or effect.kind == "data" for effect in downgrade.effects)
    return "lossy" if loses else "clean"


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
_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "log", "critical"}
_SCHEMA_LIBRARIES = {"sqlalchemy", "sqlalchemy_utils", "geoalchemy2", "pgvector"}
_ENUM_NAMES = {"Enum", "ENUM"}
_ROW_VERBS = {"insert": "data", "update": "data", "delete": "data"}
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
        self.loose: list[Effect] = []  # effects of module-level code
        self.marker = ""
        self._scan()

    def _scan(self) -> None:
        for statement in self.module.body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self.imported(statement)
            elif isinstance(statement, ast.FunctionDef):
                self.functions[statement.name] = statement
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                self._assigned(statement)
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            elif not isinstance(statement, (*_Definition, ast.Pass)) and any(
                isinstance(node, ast.Call) for node in ast.walk(statement)
            ):
                self.loose.append(Effect("unknown", f"code outside upgrade() in line {statement.lineno}"))
        shadowed = {name for name in self.functions if name in self.op_names} | {
            name for name in self.values if name in self.op_names
        }
        if shadowed:
            self.op_names -= shadowed
            self.loose.append(Effect("unknown", f"{', '.join(sorted(shadowed))} is given another meaning in the file"))

    def imported(self, statement: Union[ast.Import, ast.ImportFrom]) -> None:
        for alias in statement.names:
            name = alias.asname or alias.name.split(".")[0]
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

    def _assigned(self, statement: Union[ast.Assign, ast.AnnAssign]) -> None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if statement.value is None:
            return
        for target in targets:
            if not isinstance(target, ast.Name):
                self.loose.append(Effect("unknown", f"line {statement.lineno} changes something outside this file"))
                continue
            self.values[target.id] = statement.value
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
            assigned = name in self.values
            return _Function(
                present=assigned, effects=[Effect("unknown", f"{name} is no function")] if assigned else []
            )
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


def _fixed_parts(node: ast.expr) -> str:
    """The text a computed string surely contains, a mark where something is put in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else " x " for part in node.values)
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return " x ".join(texts)


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
        self.effects: list[Effect] = []
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
        elif isinstance(node, ast.Return) and node.value is not None:
            self.expression(node.value)
        elif isinstance(node, (ast.Pass, ast.Return, ast.Assert, *_Definition)):
            return  # a definition does nothing until it is called, and the call is judged
        else:
            self.branch(node)

    def branch(self, node: ast.stmt) -> None:
        """A loop, condition or try block: what it certainly contains, and that nobody knows how often."""
        inner = _Reader(self.source)
        inner.constants, inner.values, inner.batches = dict(self.constants), dict(self.values), dict(self.batches)
        inner.binds, inner.new_tables = set(self.binds), set()
        for child in ast.walk(node):
            if (
                isinstance(child, ast.stmt)
                and child is not node
                and isinstance(child, (ast.Expr, ast.Assign, ast.With, ast.Raise))
            ):
                inner.statement(child)
        for name in ("test", "iter"):
            expression = getattr(node, name, None)
            if isinstance(expression, ast.expr):
                inner.expression(expression)
        self.autocommit = self.autocommit or inner.autocommit
        self.raises = self.raises or inner.raises
        if inner.effects or inner.raises:
            word = type(node).__name__.lower()
            self.effects.append(Effect("unknown", f"steps inside a {word} block in line {node.lineno}"))
            self.effects.extend(effect for effect in inner.effects if effect not in self.effects)

    def assignment(self, node: Union[ast.Assign, ast.AnnAssign]) -> None:
        if node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        self.source.library_names.difference_update(names)
        if len(names) < len(targets) or any(name in self.source.op_names for name in names):
            self.effects.append(Effect("unknown", f"line {node.lineno} changes something outside this function"))
        self.expression(node.value)
        text = _text(node.value, self.constants)
        for name in names:
            self.constants.pop(name, None)
            self.values[name] = node.value
            if text is not None:
                self.constants[name] = text
            self.binds.discard(name)
            if self.is_bind(node.value):
                self.binds.add(name)

    def block(self, node: ast.With) -> None:
        for item in node.items:
            call = item.context_expr
            name = item.optional_vars.id if isinstance(item.optional_vars, ast.Name) else ""
            if isinstance(call, ast.Call) and self.op_method(call) == "batch_alter_table":
                table = _text(_argument(call, 0, "table_name"), self.constants) or "?"
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
        elif self.is_harmless(node):
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                self.expression(argument)
        else:
            self.effects.append(Effect("unknown", f"calls {ast.unparse(function)[:60]}() in line {node.lineno}"))

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
        if isinstance(function, ast.Name):
            return (name in _NEUTRAL_CALLS and name not in self.source.functions) or name in self.source.library_names
        if name in _LOG_METHODS and "log" in root.lower():
            return True
        chain = {_last_name(part) for part in ast.walk(function) if isinstance(part, (ast.Name, ast.Attribute))}
        if root in self.source.library_names:
            return (
                chain.isdisjoint(_ACTORS) and name not in _ACTING_METHODS
            )  # sa.Column(…), sa.table(…).update().values(…)
        value = self.values.get(root)
        if (
            isinstance(function, ast.Attribute)
            and isinstance(value, ast.Call)
            and _last_name(value.func) in ("table", "Table")
        ):
            return _root_name(value.func) in self.source.library_names and name not in _ACTING_METHODS
        return isinstance(function, ast.Attribute) and name in (
            "strip",
            "format",
            "join",
            "lower",
            "upper",
            "bindparams",
            "isoformat",
            "is_",
        )

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
        for verb, kind in _ROW_VERBS.items():
            if verb in names:
                return Effect(kind, f"{verb} rows in line {node.lineno}", "rows" if verb == "delete" else "")
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
        if any(keyword.arg is None for keyword in node.keywords) and not method.startswith("drop"):
            self.effects.append(Effect("unknown", f"{method} with computed arguments in line {node.lineno}"))
            return
        handler = getattr(self, f"op_{method}", None)
        if handler:
            handler(node, table)
        elif method.startswith("drop_"):
            self.effects.append(Effect("contract", f"{method.replace('_', ' ')} {self.first(node)}"))
        else:
            self.effects.append(Effect("unknown", f"{method} in line {node.lineno}"))

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
        return table if table is not None else _text(_argument(node, position, name), self.constants) or "?"

    def fresh(self, table: str) -> bool:
        return table in self.new_tables

    def op_create_table(self, node: ast.Call, table: Optional[str]) -> None:
        name = self.first(node)
        if any(keyword.arg in ("postgresql_inherits", "prefixes") for keyword in node.keywords):
            self.effects.append(Effect("unknown", f"create table {name} as a part of another"))
            return
        self.new_tables.add(name)
        self.effects.append(Effect("expand", f"create table {name}"))

    def op_drop_table(self, node: ast.Call, table: Optional[str]) -> None:
        name = self.first(node)
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
        has_default = default is not None and not (isinstance(default, ast.Constant) and default.value is None)
        if not may_be_null and not has_default:
            return Effect("contract", f"{what}, NOT NULL without server_default")
        if any(
            isinstance(part, ast.Call) and _last_name(part.func) in ("Computed", "Identity", "CheckConstraint")
            for part in column.args
        ):
            return Effect("unknown", f"{what}: rewrites or checks the whole table")
        if has_default and not self.constant_value(default):
            return Effect("unknown", f"{what}: its server_default may differ from row to row, which rewrites the table")
        return Effect("expand", what)

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
            return Effect("unknown", f"let {name} be NULL: an older release may not expect it")
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
