//! Finds mutations that leave out the fields by which live subscriptions filter.
//!
//! AppSync compares the arguments of a subscription with the fields of the mutation's result. A field
//! that the mutation did not select is null there, so the subscription gets no event, and no error. Which
//! mutations notify which subscription is only in the schema (`@aws_subscribe`), so names decide here
//! whether the two belong together: this serves hints in the log, and nothing else.
//!
//! <https://docs.aws.amazon.com/appsync/latest/devguide/aws-appsync-real-time-data.html>

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use apollo_parser::cst::{self, CstNode as _};
use serde::Deserialize;
use serde_json::Value;

use super::document::OperationKind;
use super::error::shown;
use super::executable::Executable;
use super::json::read_object;

/// The field of a subscription, and its arguments that are not null.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionFilter {
    field: String,
    arguments: BTreeSet<String>,
}

/// A subscription that a mutation probably does not reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unselected {
    pub subscription: String,
    pub mutation: String,
    /// The arguments of the subscription that the mutation does not select as fields.
    pub fields: Vec<String>,
}

/// The live subscriptions of one API that have arguments.
#[derive(Debug, Default)]
pub struct LiveFilters {
    live: HashMap<Arc<SubscriptionFilter>, usize>,
    /// The subscriptions and mutations that were returned before.
    known: HashSet<(String, String)>,
    hasher: RandomState,
    /// The hashes of documents that were examined since a filter was added.
    examined: HashSet<u64>,
}

/// A mutation whose document has not been examined.
#[derive(Debug)]
pub struct Unexamined<'a> {
    request: Members<'a>,
}

/// The root fields of a mutation.
#[derive(Debug)]
pub struct MutationFields(Vec<RootField>);

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(borrow, default)]
    operation_name: Option<Cow<'a, str>>,
    #[serde(default)]
    variables: Value,
}

/// The fragments of a document by their names.
struct Fragments<'a>(HashMap<String, &'a cst::FragmentDefinition>);

#[derive(Debug)]
struct RootField {
    name: String,
    /// The names in its arguments that have a value, with those of input objects.
    inputs: BTreeSet<String>,
    selected: BTreeSet<String>,
}

/// The maximum length of a document that is examined.
const MAX_QUERY: usize = 16 << 10;
/// The number of pairs that are returned in all, and of documents that are remembered.
const MAX_KNOWN: usize = 64;
const MAX_EXAMINED: usize = 256;
/// The number of fields that are returned of one pair.
const MAX_FIELDS: usize = 16;
/// The number of root fields of an operation that is examined: each may select all fragments.
const MAX_ROOT_FIELDS: usize = 16;
/// The depth of input objects to which names are collected.
const MAX_INPUT_DEPTH: usize = 3;

impl LiveFilters {
    /// Adds a live subscription, or another one with the same filter. Returns the filter, which all of these
    /// share.
    pub fn add(&mut self, filter: SubscriptionFilter) -> Arc<SubscriptionFilter> {
        let entry = self.live.entry(Arc::new(filter));
        let shared = Arc::clone(entry.key());
        let count = entry.or_insert(0);
        *count += 1;
        if *count == 1 {
            self.examined.clear();
        }
        shared
    }

    /// Removes a subscription that was added.
    pub fn remove(&mut self, filter: &SubscriptionFilter) {
        if let Some(count) = self.live.get_mut(filter) {
            *count -= 1;
            if *count == 0 {
                self.live.remove(filter);
            }
        }
    }

    /// Returns whether a mutation could be returned by [`LiveFilters::unselected`].
    pub fn is_watching(&self) -> bool {
        !self.live.is_empty() && self.known.len() < MAX_KNOWN
    }

    /// Returns whether the document should be examined, and remembers it.
    pub fn is_new(&mut self, mutation: &Unexamined<'_>) -> bool {
        let Members {
            query,
            operation_name,
            ..
        } = &mutation.request;
        let hash = self.hasher.hash_one((query, operation_name));
        self.examined.len() < MAX_EXAMINED && self.examined.insert(hash)
    }

    /// Returns the live subscriptions that probably belong to a mutation and that it does not reach,
    /// each pair of names once.
    pub fn unselected(&mut self, mutation: &MutationFields) -> Vec<Unselected> {
        let mut found = Vec::new();
        for filter in self.live.keys() {
            for field in mutation.0.iter().filter(|field| field.belongs_to(filter)) {
                let missing = filter.arguments.difference(&field.selected);
                let fields: Vec<&String> = missing.take(MAX_FIELDS).collect();
                let pair = (filter.field.clone(), field.name.clone());
                if !fields.is_empty() && self.known.len() < MAX_KNOWN && self.known.insert(pair) {
                    found.push(Unselected {
                        subscription: shown(&filter.field),
                        mutation: shown(&field.name),
                        fields: fields.iter().map(|field| shown(field)).collect(),
                    });
                }
            }
        }
        found
    }
}

impl SubscriptionFilter {
    /// Reads the `data` of a realtime start. Returns `None` for a subscription without arguments.
    pub fn read(data: &str) -> Option<Self> {
        // Most subscriptions without arguments are recognised without parsing.
        let request: Members<'_> = read_object(data)?;
        if request.query.len() > MAX_QUERY || !request.query.contains('(') {
            return None;
        }
        let mut fields = root_fields(&request, OperationKind::Subscription)?;
        let field = fields.pop().filter(|field| !field.inputs.is_empty())?;
        Some(Self {
            field: field.name,
            arguments: field.inputs,
        })
    }
}

impl<'a> Unexamined<'a> {
    /// Reads the body of a request. Returns `None` if it is not a mutation.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        if !text.contains("mutation") {
            return None;
        }
        let request: Members<'_> = read_object(text)?;
        (request.query.len() <= MAX_QUERY).then_some(Self { request })
    }

    /// Parses the document. Returns `None` if it is not a valid mutation.
    pub fn examine(&self) -> Option<MutationFields> {
        root_fields(&self.request, OperationKind::Mutation).map(MutationFields)
    }
}

// === impl RootField ===

impl RootField {
    /// Returns whether the names suggest that this mutation notifies the subscription: `createRoom` and
    /// `onCreateRoom`, or a value for an argument of the subscription.
    fn belongs_to(&self, filter: &SubscriptionFilter) -> bool {
        let notified = filter.field.strip_prefix("on");
        notified.is_some_and(|notified| notified.eq_ignore_ascii_case(&self.name))
            || !self.inputs.is_disjoint(&filter.arguments)
    }
}

/// Returns the root fields of the selected operation, if it is of this kind. Returns `None` if it has more
/// than [`MAX_ROOT_FIELDS`].
fn root_fields(request: &Members<'_>, kind: OperationKind) -> Option<Vec<RootField>> {
    let tree = Executable::parse(&request.query).ok()?;
    let executable = Executable::from_tree(&tree).ok()?;
    let (selected, operation) = executable.select(request.operation_name.as_deref()).ok()?;
    if selected.kind != kind {
        return None;
    }
    let variables = variables(request, operation);
    let fragments = Fragments::new(&executable.fragments);
    let fields = fragments.fields(operation.selection_set()?);
    if fields.len() > MAX_ROOT_FIELDS {
        return None;
    }
    let fields = fields.into_iter().map(|field| {
        let children = field.selection_set();
        let children = children.map(|set| fragments.names(set));
        let mut inputs = BTreeSet::new();
        for argument in field.arguments().iter().flat_map(|all| all.arguments()) {
            let (name, value) = (argument.name().map(|name| text(&name)), argument.value());
            if let (Some(name), Some(value)) = (name, value) {
                literal_inputs(name, &value, &variables, kind, &mut inputs);
            }
        }
        Some(RootField {
            name: text(&field.name()?),
            inputs,
            selected: children.unwrap_or_default(),
        })
    });
    fields.collect()
}

/// Returns the values of an operation's variables that are not null. A default counts as `true`.
fn variables(
    request: &Members<'_>,
    operation: &cst::OperationDefinition,
) -> HashMap<String, Value> {
    let mut variables = HashMap::new();
    let definitions = operation.variable_definitions();
    for definition in definitions
        .iter()
        .flat_map(|all| all.variable_definitions())
    {
        let name = definition.variable().and_then(|variable| variable.name());
        let Some(name) = name.map(|name| text(&name)) else {
            continue;
        };
        let value = match request.variables.get(&name) {
            Some(value) => Some(value.clone()),
            None => definition.default_value().map(|_| Value::Bool(true)),
        };
        if let Some(value) = value.filter(|value| !value.is_null()) {
            variables.insert(name, value);
        }
    }
    variables
}

/// Adds `name` unless its value is null, and for a mutation the names in an input object, too.
fn literal_inputs(
    name: String,
    value: &cst::Value,
    variables: &HashMap<String, Value>,
    kind: OperationKind,
    inputs: &mut BTreeSet<String>,
) {
    if let cst::Value::NullValue(_) = value {
        return;
    }
    if let cst::Value::Variable(variable) = value {
        let variable = variable.name().map(|name| text(&name));
        let value = variable.and_then(|name| variables.get(&name));
        if let Some(value) = value {
            inputs.insert(name);
            if kind == OperationKind::Mutation {
                json_inputs(value, MAX_INPUT_DEPTH, inputs);
            }
        }
        return;
    }
    inputs.insert(name);
    if kind == OperationKind::Mutation {
        let inner = value.syntax().descendants();
        let inner = inner.filter_map(cst::ObjectField::cast);
        let names = inner.filter_map(|field| field.name());
        inputs.extend(names.map(|name| text(&name)));
    }
}

fn json_inputs(value: &Value, depth: usize, inputs: &mut BTreeSet<String>) {
    let Some(object) = value.as_object().filter(|_| depth > 0) else {
        return;
    };
    for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        inputs.insert(name.clone());
        json_inputs(value, depth - 1, inputs);
    }
}

// === impl Fragments ===

impl<'a> Fragments<'a> {
    fn new(definitions: &'a [cst::FragmentDefinition]) -> Self {
        let named = definitions.iter().filter_map(|definition| {
            let name = definition.fragment_name().and_then(|name| name.name())?;
            Some((text(&name), definition))
        });
        Self(named.collect())
    }

    /// Returns the names of the fields of a selection set.
    fn names(&self, set: cst::SelectionSet) -> BTreeSet<String> {
        let fields = self.fields(set).into_iter();
        let names = fields.filter_map(|field| field.name());
        names.map(|name| text(&name)).collect()
    }

    /// Returns the fields of a selection set, including those of its fragments. Visits each fragment once,
    /// so it terminates for any document.
    fn fields(&self, set: cst::SelectionSet) -> Vec<cst::Field> {
        let mut fields = Vec::new();
        let mut visited = HashSet::new();
        let mut sets = vec![set];
        while let Some(set) = sets.pop() {
            for selection in set.selections() {
                match selection {
                    cst::Selection::Field(field) => fields.push(field),
                    cst::Selection::InlineFragment(inline) => sets.extend(inline.selection_set()),
                    cst::Selection::FragmentSpread(spread) => {
                        let name = spread.fragment_name().and_then(|name| name.name());
                        let found = name.and_then(|name| self.0.get_key_value(&text(&name)));
                        if let Some((name, fragment)) = found
                            && visited.insert(name)
                        {
                            sets.extend(fragment.selection_set());
                        }
                    }
                }
            }
        }
        fields
    }
}

fn text(name: &cst::Name) -> String {
    name.text().to_string()
}

#[cfg(test)]
mod tests;
