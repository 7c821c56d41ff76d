"""The languages that can be outlined, and which nodes a file is cut to: data, no code.

What defines and refers to a name is in `queries.py`.
"""

from dataclasses import dataclass, replace
from posixpath import splitext


@dataclass(frozen=True)
class Language:
    """Which nodes of a grammar matter. A kind that is named nowhere is left out with its body."""

    module: str
    """The package of the grammar; `function` of it gives the language."""
    function: str = "language"
    whole: frozenset[str] = frozenset()
    """Kept as they are, up to `MAX_WHOLE_LINES`: imports, types, declarations."""
    cut: frozenset[str] = frozenset()
    """Kept without their body."""
    open: frozenset[str] = frozenset()
    """Kept without their body, and what is inside follows."""
    through: frozenset[str] = frozenset()
    """Left out themselves; what is inside follows."""
    wraps: frozenset[str] = frozenset()
    """Words before a definition (a decorator, `export`) that belong to its signature."""
    comment: str = "//"
    """How the one line about a definition begins."""


def kinds(text: str) -> frozenset[str]:
    """Return the kinds of nodes that a text lists."""
    return frozenset(text.split())


JAVASCRIPT = Language(
    "tree_sitter_javascript",
    whole=kinds(
        "import_statement type_alias_declaration interface_declaration enum_declaration"
        " function_signature method_signature abstract_method_signature ambient_declaration"
    ),
    cut=kinds(
        "function_declaration generator_function_declaration method_definition lexical_declaration"
        " variable_declaration field_definition public_field_definition"
    ),
    open=kinds("class_declaration abstract_class_declaration internal_module module"),
    through=kinds("class_body statement_block program expression_statement"),
    wraps=kinds("export_statement"),
)
TYPESCRIPT = replace(JAVASCRIPT, module="tree_sitter_typescript", function="language_typescript")
TSX = replace(TYPESCRIPT, function="language_tsx")
_C = kinds("preproc_include type_definition declaration field_declaration enum_specifier")
_C_THROUGH = kinds(
    "translation_unit preproc_ifdef preproc_if preproc_else preproc_elif linkage_specification"
    " declaration_list field_declaration_list"
)
PYTHON = Language(
    "tree_sitter_python",
    whole=kinds("import_statement import_from_statement future_import_statement"),
    cut=kinds("function_definition"),
    open=kinds("class_definition"),
    through=kinds("module block if_statement else_clause try_statement except_clause"),
    wraps=kinds("decorated_definition"),
    comment="#",
)
GO = Language(
    "tree_sitter_go",
    whole=kinds("package_clause import_declaration type_declaration"),
    cut=kinds("function_declaration method_declaration"),
    through=kinds("source_file"),
)
RUST = Language(
    "tree_sitter_rust",
    whole=kinds(
        "use_declaration extern_crate_declaration struct_item enum_item union_item type_item"
        " function_signature_item const_item static_item associated_type"
    ),
    cut=kinds("function_item macro_definition"),
    open=kinds("trait_item impl_item mod_item"),
    through=kinds("source_file declaration_list foreign_mod_item"),
)
JAVA = Language(
    "tree_sitter_java",
    whole=kinds("package_declaration import_declaration annotation_type_declaration"),
    cut=kinds("method_declaration constructor_declaration compact_constructor_declaration"),
    open=kinds("class_declaration interface_declaration enum_declaration record_declaration"),
    through=kinds("program class_body interface_body enum_body enum_body_declarations"),
)
C = Language(
    "tree_sitter_c",
    whole=_C | kinds("struct_specifier union_specifier"),
    cut=kinds("function_definition"),
    through=_C_THROUGH,
)
CPP = Language(
    "tree_sitter_cpp",
    whole=_C | kinds("using_declaration alias_declaration concept_definition"),
    cut=kinds("function_definition"),
    open=kinds("class_specifier struct_specifier union_specifier namespace_definition"),
    through=_C_THROUGH,
    wraps=kinds("template_declaration"),
)
RUBY = Language(
    "tree_sitter_ruby",
    cut=kinds("method singleton_method"),
    open=kinds("class module singleton_class"),
    whole=kinds("call"),
    through=kinds("program body_statement"),
    comment="#",
)
C_SHARP = Language(
    "tree_sitter_c_sharp",
    whole=kinds(
        "using_directive delegate_declaration field_declaration property_declaration"
        " event_field_declaration file_scoped_namespace_declaration"
    ),
    cut=kinds("method_declaration constructor_declaration operator_declaration"),
    open=kinds(
        "namespace_declaration class_declaration struct_declaration record_declaration"
        " interface_declaration enum_declaration"
    ),
    through=kinds("compilation_unit declaration_list"),
)
PHP = Language(
    "tree_sitter_php",
    function="language_php",
    whole=kinds(
        "namespace_definition namespace_use_declaration const_declaration property_declaration"
        " use_declaration"
    ),
    cut=kinds("function_definition method_declaration"),
    open=kinds("class_declaration interface_declaration trait_declaration enum_declaration"),
    through=kinds("program declaration_list"),
)
BASH = Language(
    "tree_sitter_bash",
    cut=kinds("function_definition"),
    through=kinds("program if_statement else_clause"),
    comment="#",
)
LANGUAGES = {
    **dict.fromkeys((".py", ".pyi"), PYTHON),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), JAVASCRIPT),
    **dict.fromkeys((".ts", ".mts", ".cts"), TYPESCRIPT),
    **dict.fromkeys((".c",), C),
    **dict.fromkeys((".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".inl"), CPP),
    **dict.fromkeys((".rb", ".rake"), RUBY),
    ".tsx": TSX,
    ".go": GO,
    ".rs": RUST,
    ".java": JAVA,
    ".cs": C_SHARP,
    ".php": PHP,
    **dict.fromkeys((".sh", ".bash"), BASH),
}
"""By the ending of the name. C++ reads C headers too."""

FAMILIES = {"tree_sitter_typescript": "tree_sitter_javascript", "tree_sitter_c": "tree_sitter_cpp"}
"""Whose code uses the other's."""


def language_of(path: str) -> Language | None:
    """Return the language of a file, by its name."""
    return LANGUAGES.get(splitext(path)[1].lower())


def family_of(path: str) -> str:
    """Return the name of the languages whose files can refer to those of this one."""
    language = language_of(path)
    return FAMILIES.get(language.module, language.module) if language else ""
