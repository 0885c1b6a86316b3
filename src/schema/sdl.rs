//! Prints a schema in the schema definition language, in the layout of graphql-js's `printSchema`.

use super::introspection::{
    Deprecation, Directive, EnumValue, Field, InputValue, InvalidSchema, Kind, Schema, Type,
    TypeRef,
};
use super::text::{description, string};

/// The scalars of every GraphQL API.
const SCALARS: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];
/// The directives of every GraphQL API.
const DIRECTIVES: [&str; 5] = ["deprecated", "include", "oneOf", "skip", "specifiedBy"];
/// The indentation of fields.
const FIELD: &str = "  ";
/// The reason of a deprecation for which none was given.
const NO_REASON: &str = "No longer supported";

type Printed = Result<String, InvalidSchema>;

/// Returns the definitions in the order of the introspection, without those of every GraphQL API.
pub(super) fn print(schema: &Schema) -> Printed {
    let mut parts: Vec<String> = definition(schema).into_iter().collect();
    let own = schema
        .directives
        .iter()
        .filter(|directive| !DIRECTIVES.contains(&directive.name.as_str()));
    for directive in own {
        parts.push(print_directive(directive)?);
    }
    let own = schema.types.iter().filter(|kind| {
        let name = kind.name.as_str();
        !name.starts_with("__") && !SCALARS.contains(&name)
    });
    for kind in own {
        parts.push(print_type(kind)?);
    }
    Ok(parts.join("\n\n") + "\n")
}

/// Returns the definition of the schema itself; `None` if the root types have their usual names.
fn definition(schema: &Schema) -> Option<String> {
    let roots = [
        ("query", "Query", &schema.query_type),
        ("mutation", "Mutation", &schema.mutation_type),
        ("subscription", "Subscription", &schema.subscription_type),
    ];
    // Without a definition, every type with a usual name is a root type.
    let is_usual = roots.iter().all(|(_, usual, root)| match root {
        Some(root) => root.name.as_str() == *usual,
        None => schema.types.iter().all(|kind| kind.name.as_str() != *usual),
    });
    if schema.description.is_none() && is_usual {
        return None;
    }
    let roots = roots.iter().filter_map(|(operation, _, root)| {
        let name = root.as_ref()?.name.as_str();
        Some(format!("{FIELD}{operation}: {name}"))
    });
    let lines: Vec<String> = roots.collect();
    let described = description(schema.description.as_deref(), "", true);
    Some(format!("{described}schema{}", block(&lines)))
}

fn print_directive(directive: &Directive) -> Printed {
    let locations = directive.locations.iter().map(|name| name.as_str());
    let locations: Vec<&str> = locations.collect();
    Ok(format!(
        "{}directive @{}{}{} on {}",
        description(directive.description.as_deref(), "", true),
        directive.name.as_str(),
        arguments(&directive.args, "")?,
        if directive.is_repeatable == Some(true) {
            " repeatable"
        } else {
            ""
        },
        locations.join(" | "),
    ))
}

fn print_type(kind: &Type) -> Printed {
    let described = description(kind.description.as_deref(), "", true);
    let name = kind.name.as_str();
    let definition = match kind.kind {
        Kind::Scalar => {
            let url = kind.specified_by.as_deref();
            let url = url.map(|url| format!(" @specifiedBy(url: {})", string(url)));
            format!("scalar {name}{}", url.unwrap_or_default())
        }
        Kind::Object => format!("type {name}{}", members(kind)?),
        Kind::Interface => format!("interface {name}{}", members(kind)?),
        Kind::Union => {
            let types = names(&kind.possible_types, " | ")?;
            let sign = if types.is_empty() { "" } else { " = " };
            format!("union {name}{sign}{types}")
        }
        Kind::Enum => {
            let values = kind.enum_values.iter().enumerate();
            let values: Vec<String> = values.map(enum_value).collect();
            format!("enum {name}{}", block(&values))
        }
        Kind::InputObject => {
            let fields = kind.input_fields.iter().enumerate();
            let fields: Result<Vec<String>, _> = fields.map(input_field).collect();
            let one_of = if kind.is_one_of == Some(true) {
                " @oneOf"
            } else {
                ""
            };
            format!("input {name}{one_of}{}", block(&fields?))
        }
        Kind::List | Kind::NonNull => return Err(InvalidSchema::Nested),
    };
    Ok(described + &definition)
}

/// Returns the interfaces and fields of an object or an interface.
fn members(kind: &Type) -> Printed {
    let interfaces = names(&kind.interfaces, " & ")?;
    let implements = if interfaces.is_empty() {
        ""
    } else {
        " implements "
    };
    let fields = kind.fields.iter().enumerate().map(field);
    let fields: Result<Vec<String>, _> = fields.collect();
    Ok(format!("{implements}{interfaces}{}", block(&fields?)))
}

fn field((index, field): (usize, &Field)) -> Printed {
    Ok(format!(
        "{}{FIELD}{}{}: {}{}",
        description(field.description.as_deref(), FIELD, index == 0),
        field.name.as_str(),
        arguments(&field.args, FIELD)?,
        reference(&field.kind)?,
        deprecation(&field.deprecation),
    ))
}

fn enum_value((index, value): (usize, &EnumValue)) -> String {
    format!(
        "{}{FIELD}{}{}",
        description(value.description.as_deref(), FIELD, index == 0),
        value.name.as_str(),
        deprecation(&value.deprecation),
    )
}

fn input_field((index, field): (usize, &InputValue)) -> Printed {
    let described = description(field.description.as_deref(), FIELD, index == 0);
    Ok(format!("{described}{FIELD}{}", input_value(field)?))
}

/// Returns the arguments in parentheses: in one line, unless one has a description.
fn arguments(arguments: &[InputValue], indentation: &str) -> Printed {
    if arguments.is_empty() {
        return Ok(String::new());
    }
    if arguments
        .iter()
        .all(|argument| argument.description.as_deref().unwrap_or("").is_empty())
    {
        let values: Result<Vec<String>, _> = arguments.iter().map(input_value).collect();
        return Ok(format!("({})", values?.join(", ")));
    }
    let inner = format!("{indentation}{FIELD}");
    let mut lines = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let described = description(argument.description.as_deref(), &inner, index == 0);
        lines.push(format!("{described}{inner}{}", input_value(argument)?));
    }
    Ok(format!("(\n{}\n{indentation})", lines.join("\n")))
}

fn input_value(value: &InputValue) -> Printed {
    let default = value.default_value.as_ref();
    let default = default.map(|default| format!(" = {}", default.as_str()));
    Ok(format!(
        "{}: {}{}{}",
        value.name.as_str(),
        reference(&value.kind)?,
        default.unwrap_or_default(),
        deprecation(&value.deprecation),
    ))
}

fn deprecation(deprecation: &Deprecation) -> String {
    match deprecation.deprecation_reason.as_deref() {
        Some(NO_REASON) => " @deprecated".to_owned(),
        Some(reason) => format!(" @deprecated(reason: {})", string(reason)),
        None if deprecation.is_deprecated == Some(true) => " @deprecated".to_owned(),
        None => String::new(),
    }
}

/// Returns the names of types.
fn names(types: &[TypeRef], separator: &str) -> Printed {
    let names: Result<Vec<String>, _> = types.iter().map(reference).collect();
    Ok(names?.join(separator))
}

/// Returns a type as a field names it.
fn reference(kind: &TypeRef) -> Printed {
    let inner = || kind.of_type.as_deref().ok_or(InvalidSchema::Nested);
    match kind.kind {
        Kind::List => Ok(format!("[{}]", reference(inner()?)?)),
        Kind::NonNull => Ok(format!("{}!", reference(inner()?)?)),
        Kind::Scalar
        | Kind::Object
        | Kind::Interface
        | Kind::Union
        | Kind::Enum
        | Kind::InputObject => {
            let name = kind.name.as_ref().ok_or(InvalidSchema::Nested)?;
            Ok(name.as_str().to_owned())
        }
    }
}

/// Returns lines in braces, or nothing if there are none.
fn block(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!(" {{\n{}\n}}", lines.join("\n"))
}
