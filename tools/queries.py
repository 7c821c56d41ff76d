"""What is a definition and what is a reference, language by language: queries for tree-sitter.

A query captures, in any language:

@definition  a whole definition; its lines are those that `view` should show
@name        the name in it, once a name
@reference   a name that may refer to a definition
@member      the same behind a dot: `b` of `a.b`
@sure        one of these that is no local variable and no field: called, imported, inherited from
@bound       a parameter, a local variable, a module: the name of no definition, and no reference
@_anything   what a condition looks at
"""

from tools.languages import (
    BASH,
    C_SHARP,
    CPP,
    GO,
    JAVA,
    JAVASCRIPT,
    PHP,
    PYTHON,
    RUBY,
    RUST,
    TSX,
    TYPESCRIPT,
    C,
    Language,
)

_PYTHON = """
(class_definition name: (identifier) @name) @definition
(function_definition name: (identifier) @name) @definition
(module (expression_statement (assignment left: (identifier) @name) @definition))
(class_definition body: (block (expression_statement
    (assignment left: (identifier) @name) @definition)))

(identifier) @reference
(attribute attribute: (identifier) @member)
(keyword_argument name: (identifier) @member)
(call function: (identifier) @sure)
(decorator (identifier) @sure)
(import_from_statement name: (dotted_name (identifier) @sure))
(class_definition superclasses: (argument_list (identifier) @sure))

(assignment left: (identifier) @bound)
(assignment left: (pattern_list (identifier) @bound))
(for_statement left: [(identifier) @bound (pattern_list (identifier) @bound)])
(for_in_clause left: [(identifier) @bound (pattern_list (identifier) @bound)])
(named_expression name: (identifier) @bound)
(as_pattern_target (identifier) @bound)
(import_from_statement module_name: (dotted_name (identifier) @bound))
(import_statement name: (dotted_name (identifier) @bound))
(aliased_import alias: (identifier) @bound)
(parameters (identifier) @bound)
(lambda_parameters (identifier) @bound)
(default_parameter name: (identifier) @bound)
(typed_default_parameter name: (identifier) @bound)
(typed_parameter (identifier) @bound)
"""

_SCRIPT = """
(function_declaration name: (identifier) @name) @definition
(generator_function_declaration name: (identifier) @name) @definition
(class_declaration name: (_) @name) @definition
(method_definition name: [(property_identifier) (private_property_identifier)] @name) @definition
(program [(lexical_declaration (variable_declarator
              name: (identifier) @name value: (_)? @_value) @definition)
          (variable_declaration (variable_declarator
              name: (identifier) @name value: (_)? @_value) @definition)]
    (#not-match? @_value "^require[(]"))
(program (expression_statement (assignment_expression
    left: (member_expression object: (_) @_exports property: (property_identifier) @name)
    right: [(function_expression) (generator_function) (arrow_function) (class)]) @definition)
    (#match? @_exports "^(module[.])?exports$"))
(export_statement (lexical_declaration (variable_declarator name: (identifier) @name) @definition))

(identifier) @reference
(shorthand_property_identifier) @reference
(property_identifier) @member
(private_property_identifier) @member
(call_expression function: (identifier) @sure)
(new_expression constructor: (identifier) @sure)
(import_specifier name: (identifier) @sure)
(import_clause (identifier) @sure)

(variable_declarator name: (identifier) @bound)
(shorthand_property_identifier_pattern) @bound
(array_pattern (identifier) @bound)
(arrow_function parameter: (identifier) @bound)
(catch_clause parameter: (identifier) @bound)
(for_in_statement left: (identifier) @bound)
"""

_JAVASCRIPT = (
    _SCRIPT
    + """
(field_definition property: (_) @name) @definition
(class_heritage (identifier) @sure)
(formal_parameters (identifier) @bound)
(formal_parameters (assignment_pattern left: (identifier) @bound))
"""
)

_TYPESCRIPT = (
    _SCRIPT
    + """
(abstract_class_declaration name: (_) @name) @definition
(interface_declaration name: (_) @name) @definition
(type_alias_declaration name: (_) @name) @definition
(enum_declaration name: (_) @name) @definition
(internal_module name: (identifier) @name) @definition
(function_signature name: (identifier) @name) @definition
(method_signature name: (property_identifier) @name) @definition
(abstract_method_signature name: (property_identifier) @name) @definition
(public_field_definition name: (_) @name) @definition

(type_identifier) @reference
(extends_clause value: (identifier) @sure)
(required_parameter pattern: (identifier) @bound)
(optional_parameter pattern: (identifier) @bound)
"""
)

_GO = """
(function_declaration name: (identifier) @name) @definition
(method_declaration name: (field_identifier) @name) @definition
(method_elem name: (field_identifier) @name) @definition
(type_spec name: (type_identifier) @name) @definition
(type_alias name: (type_identifier) @name) @definition
(source_file (const_declaration (const_spec name: (identifier) @name) @definition))
(source_file (var_declaration (var_spec name: (identifier) @name) @definition))
(source_file (var_declaration (var_spec_list (var_spec name: (identifier) @name) @definition)))

(identifier) @reference
(type_identifier) @reference
(field_identifier) @member
(call_expression function: [
    (identifier) @sure (selector_expression field: (field_identifier) @sure)])

(parameter_declaration name: (identifier) @bound)
(variadic_parameter_declaration name: (identifier) @bound)
(short_var_declaration left: (expression_list (identifier) @bound))
(range_clause left: (expression_list (identifier) @bound))
(var_spec name: (identifier) @bound)
(const_spec name: (identifier) @bound)
(field_declaration name: (field_identifier) @bound)
"""

_RUST = """
(function_item name: (identifier) @name) @definition
(function_signature_item name: (identifier) @name) @definition
(macro_definition name: (identifier) @name) @definition
(struct_item name: (type_identifier) @name) @definition
(enum_item name: (type_identifier) @name) @definition
(union_item name: (type_identifier) @name) @definition
(trait_item name: (type_identifier) @name) @definition
(type_item name: (type_identifier) @name) @definition
(impl_item type: [(type_identifier) @name (generic_type type: (type_identifier) @name)]) @definition
(mod_item name: (identifier) @name body: (_)) @definition
(const_item name: (identifier) @name) @definition
(static_item name: (identifier) @name) @definition

(identifier) @reference
(type_identifier) @reference
(field_identifier) @member
(call_expression function: (identifier) @sure)
(macro_invocation macro: (identifier) @sure)
(scoped_identifier name: (identifier) @sure)
(use_list (identifier) @sure)

(parameter pattern: (identifier) @bound)
(closure_parameters (identifier) @bound)
(let_declaration pattern: (identifier) @bound)
(for_expression pattern: (identifier) @bound)
(type_parameter name: (type_identifier) @bound)
(field_declaration name: (field_identifier) @bound)
"""

_JAVA = """
(class_declaration name: (identifier) @name) @definition
(interface_declaration name: (identifier) @name) @definition
(enum_declaration name: (identifier) @name) @definition
(record_declaration name: (identifier) @name) @definition
(annotation_type_declaration name: (identifier) @name) @definition
(method_declaration name: (identifier) @name) @definition
(constructor_declaration name: (identifier) @name) @definition
(field_declaration declarator: (variable_declarator name: (identifier) @name)) @definition

(identifier) @reference
(type_identifier) @reference
(method_invocation object: (_) name: (identifier) @member)
(method_invocation !object name: (identifier) @sure)
(field_access field: (identifier) @member)
(method_reference (_) (identifier) @member)

(formal_parameter name: (identifier) @bound)
(catch_formal_parameter name: (identifier) @bound)
(inferred_parameters (identifier) @bound)
(lambda_expression parameters: (identifier) @bound)
(enhanced_for_statement name: (identifier) @bound)
(local_variable_declaration declarator: (variable_declarator name: (identifier) @bound))
(type_parameter (type_identifier) @bound)
(package_declaration (scoped_identifier name: (identifier) @bound))
"""

_C = """
(function_definition declarator: (function_declarator declarator: (identifier) @name)) @definition
(function_definition declarator:
    (_ (function_declarator declarator: (identifier) @name))) @definition
(declaration declarator: (function_declarator declarator: (identifier) @name)) @definition
(declaration declarator: (_ (function_declarator declarator: (identifier) @name))) @definition
(struct_specifier name: (type_identifier) @name body: (_)) @definition
(union_specifier name: (type_identifier) @name body: (_)) @definition
(enum_specifier name: (type_identifier) @name body: (_)) @definition
(enumerator name: (identifier) @name) @definition
(type_definition declarator: (type_identifier) @name) @definition
(preproc_def name: (identifier) @name) @definition
(preproc_function_def name: (identifier) @name) @definition
(translation_unit (declaration declarator: (init_declarator
    declarator: (identifier) @name)) @definition)

(identifier) @reference
(type_identifier) @reference
(field_identifier) @member
(call_expression function: (identifier) @sure)

(parameter_declaration declarator: (identifier) @bound)
(pointer_declarator declarator: (identifier) @bound)
(array_declarator declarator: (identifier) @bound)
(init_declarator declarator: (identifier) @bound)
(declaration declarator: (identifier) @bound)
(field_declaration declarator: (field_identifier) @bound)
"""

_CPP = (
    _C
    + """
(class_specifier name: (type_identifier) @name body: (_)) @definition
(namespace_definition name: (namespace_identifier) @name) @definition
(alias_declaration name: (type_identifier) @name) @definition
(concept_definition name: (identifier) @name) @definition
(function_definition declarator: (function_declarator declarator:
    [(field_identifier) @name (qualified_identifier name: (identifier) @name)])) @definition
(function_definition declarator: (_ (function_declarator declarator:
    [(field_identifier) @name (qualified_identifier name: (identifier) @name)]))) @definition
(field_declaration declarator:
    (function_declarator declarator: (field_identifier) @name)) @definition
(field_declaration declarator:
    (_ (function_declarator declarator: (field_identifier) @name))) @definition

(qualified_identifier name: (identifier) @sure)
(reference_declarator (identifier) @bound)
"""
)

_C_SHARP = """
(class_declaration name: (identifier) @name) @definition
(interface_declaration name: (identifier) @name) @definition
(struct_declaration name: (identifier) @name) @definition
(record_declaration name: (identifier) @name) @definition
(enum_declaration name: (identifier) @name) @definition
(delegate_declaration name: (identifier) @name) @definition
(method_declaration name: (identifier) @name) @definition
(constructor_declaration name: (identifier) @name) @definition
(property_declaration name: (identifier) @name) @definition
(field_declaration (variable_declaration
    (variable_declarator name: (identifier) @name))) @definition

(identifier) @reference
(member_access_expression name: (identifier) @member)
(invocation_expression function: (identifier) @sure)
(object_creation_expression type: (identifier) @sure)
(base_list (identifier) @sure)

(parameter name: (identifier) @bound)
(variable_declarator name: (identifier) @bound)
(foreach_statement left: (identifier) @bound)
(type_parameter name: (identifier) @bound)
(namespace_declaration name: (identifier) @bound)
(namespace_declaration name: (qualified_name (identifier) @bound))
(file_scoped_namespace_declaration name: (identifier) @bound)
(file_scoped_namespace_declaration name: (qualified_name (identifier) @bound))
"""

_RUBY = """
(class name: [(constant) @name (scope_resolution name: (constant) @name)]) @definition
(module name: [(constant) @name (scope_resolution name: (constant) @name)]) @definition
(method name: (_) @name) @definition
(singleton_method name: (_) @name) @definition
(assignment left: (constant) @name) @definition

(constant) @reference
(identifier) @reference
(call receiver: (_) method: (identifier) @member)
(call !receiver method: (identifier) @sure)

(method_parameters (identifier) @bound)
(block_parameters (identifier) @bound)
(lambda_parameters (identifier) @bound)
(optional_parameter name: (identifier) @bound)
(keyword_parameter name: (identifier) @bound)
(assignment left: (identifier) @bound)
(left_assignment_list (identifier) @bound)
(exception_variable (identifier) @bound)
"""

_PHP = """
(function_definition name: (name) @name) @definition
(class_declaration name: (name) @name) @definition
(interface_declaration name: (name) @name) @definition
(trait_declaration name: (name) @name) @definition
(enum_declaration name: (name) @name) @definition
(method_declaration name: (name) @name) @definition
(const_declaration (const_element (name) @name) @definition)
(property_declaration (property_element name: (variable_name (name) @name))) @definition

(function_call_expression function: [(name) @reference (qualified_name (name) @reference)])
(object_creation_expression [(name) @reference (qualified_name (name) @reference)])
(named_type [(name) @reference (qualified_name (name) @reference)])
(base_clause [(name) @reference (qualified_name (name) @reference)])
(class_interface_clause [(name) @reference (qualified_name (name) @reference)])
(use_declaration (name) @reference)
(namespace_use_clause [(name) @reference (qualified_name (name) @reference)])
(scoped_call_expression scope: (name) @reference)
(scoped_call_expression name: (name) @member)
(class_constant_access_expression . (name) @reference (name) @member)
(member_call_expression name: (name) @member)
(member_access_expression name: (name) @member)
(argument (name) @reference)
(binary_expression (name) @reference)
(return_statement (name) @reference)
"""

_BASH = """
(function_definition name: (word) @name) @definition
(program (variable_assignment name: (variable_name) @name) @definition)
(program (declaration_command (variable_assignment name: (variable_name) @name) @definition))

(command name: (command_name (word) @reference))
(simple_expansion (variable_name) @reference)
(expansion (variable_name) @reference)
"""

QUERIES: dict[Language, str] = {
    PYTHON: _PYTHON,
    JAVASCRIPT: _JAVASCRIPT,
    TYPESCRIPT: _TYPESCRIPT,
    TSX: _TYPESCRIPT,
    GO: _GO,
    RUST: _RUST,
    JAVA: _JAVA,
    C: _C,
    CPP: _CPP,
    C_SHARP: _C_SHARP,
    RUBY: _RUBY,
    PHP: _PHP,
    BASH: _BASH,
}
