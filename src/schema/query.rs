//! The introspection queries.

use serde::Deserialize;

/// What an API's introspection knows beside the specification of 2018, the oldest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    schema_description: bool,
    /// The field of `__Type` for the URL of a scalar.
    specified_by: Option<&'static str>,
    one_of: bool,
    repeatable: bool,
    /// Whether arguments and input fields have a deprecation, and which lists take `includeDeprecated`.
    deprecated_inputs: Option<DeprecatedInputs>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DeprecatedInputs {
    of_directives: bool,
    of_fields: bool,
    of_types: bool,
}

/// The response to [`Features::QUERY`].
#[derive(Deserialize)]
struct Response {
    data: Known,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    schema: Option<Shape>,
    #[serde(rename = "type")]
    kind: Option<Shape>,
    field: Option<Shape>,
    input_value: Option<Shape>,
    directive: Option<Shape>,
}

#[derive(Deserialize)]
struct Shape {
    fields: Option<Vec<ShapeField>>,
}

#[derive(Deserialize)]
struct ShapeField {
    name: String,
    #[serde(default)]
    args: Vec<ShapeArgument>,
}

#[derive(Deserialize)]
struct ShapeArgument {
    name: String,
}

const INCLUDE_DEPRECATED: &str = "includeDeprecated";
/// How a list of arguments or input fields is asked for with those that are deprecated.
const WITH_DEPRECATED: &str = "(includeDeprecated: true)";

impl Features {
    /// Asks which fields the types of the introspection have.
    pub(super) const QUERY: &str = "query IntrospectionFeatures {
  schema: __type(name: \"__Schema\") { ...Shape }
  type: __type(name: \"__Type\") { ...Shape }
  field: __type(name: \"__Field\") { ...Shape }
  inputValue: __type(name: \"__InputValue\") { ...Shape }
  directive: __type(name: \"__Directive\") { ...Shape }
}
fragment Shape on __Type { fields { name args { name } } }
";

    /// Reads the response to [`Self::QUERY`]. One that cannot be read has none of the features.
    pub(super) fn parse(body: &[u8]) -> Self {
        let Ok(Response { data: known }) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let has = |shape: &Option<Shape>, name: &str| find(shape, name).is_some();
        let takes = |shape: &Option<Shape>, name: &str| {
            let field = find(shape, name);
            field.is_some_and(|field| field.args.iter().any(|arg| arg.name == INCLUDE_DEPRECATED))
        };
        let urls = ["specifiedByURL", "specifiedByUrl"];
        let has_deprecation =
            has(&known.input_value, "isDeprecated") && has(&known.input_value, "deprecationReason");
        Self {
            schema_description: has(&known.schema, "description"),
            specified_by: urls.into_iter().find(|name| has(&known.kind, name)),
            one_of: has(&known.kind, "isOneOf"),
            repeatable: has(&known.directive, "isRepeatable"),
            deprecated_inputs: has_deprecation.then(|| DeprecatedInputs {
                of_directives: takes(&known.directive, "args"),
                of_fields: takes(&known.field, "args"),
                of_types: takes(&known.kind, "inputFields"),
            }),
        }
    }

    /// Returns the query for the schema.
    pub(super) fn introspection_query(self) -> String {
        let when = |is_known: bool, text: &'static str| if is_known { text } else { "" };
        let inputs = self.deprecated_inputs.unwrap_or_default();
        let schema_description = when(self.schema_description, "description");
        let specified_by = match self.specified_by {
            Some("specifiedByURL") => "specifiedByURL",
            Some(_) => "specifiedByURL: specifiedByUrl",
            None => "",
        };
        let one_of = when(self.one_of, "isOneOf");
        let repeatable = when(self.repeatable, "isRepeatable");
        let of_directives = when(inputs.of_directives, WITH_DEPRECATED);
        let of_fields = when(inputs.of_fields, WITH_DEPRECATED);
        let of_types = when(inputs.of_types, WITH_DEPRECATED);
        let deprecation = when(
            self.deprecated_inputs.is_some(),
            "isDeprecated deprecationReason",
        );
        let inner = "ofType { kind name ".repeat(DEPTH) + &"}".repeat(DEPTH);
        format!(
            "query IntrospectionQuery {{
  __schema {{
    {schema_description}
    queryType {{ name }}
    mutationType {{ name }}
    subscriptionType {{ name }}
    types {{ ...FullType }}
    directives {{
      name description {repeatable} locations
      args{of_directives} {{ ...InputValue }}
    }}
  }}
}}
fragment FullType on __Type {{
  kind name description {specified_by} {one_of}
  fields(includeDeprecated: true) {{
    name description
    args{of_fields} {{ ...InputValue }}
    type {{ ...TypeRef }}
    isDeprecated deprecationReason
  }}
  inputFields{of_types} {{ ...InputValue }}
  interfaces {{ ...TypeRef }}
  enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }}
  possibleTypes {{ ...TypeRef }}
}}
fragment InputValue on __InputValue {{
  name description type {{ ...TypeRef }} defaultValue {deprecation}
}}
fragment TypeRef on __Type {{ kind name {inner} }}
"
        )
    }
}

/// The levels of lists and non-null types, as many as graphql-js asks for.
const DEPTH: usize = 9;

fn find<'a>(shape: &'a Option<Shape>, name: &str) -> Option<&'a ShapeField> {
    let fields = shape.as_ref()?.fields.as_ref()?;
    fields.iter().find(|field| field.name == name)
}
