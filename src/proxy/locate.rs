//! Finds the route of a request, and the path that is signed and sent.
//!
//! The normalised path selects a route whose `odd_paths` is `collapse`, and is sent upstream. The path
//! as it was received selects all other routes. A path that an upstream may read as a path of another
//! route is rejected (see [`readings`]).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use http::Uri;

use super::error::Error;
use super::readings::{self, Matching, NestedRoute, Top};
use super::route::Route;
use crate::sign::{PathHandling, TargetError};
use crate::upstream::UpstreamKind;

/// All routes, each with the other routes below its path.
#[derive(Debug)]
pub(super) struct Routes(Vec<(Arc<Route>, Vec<NestedRoute>)>);

/// The route of a request.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) route: Arc<Route>,
    /// The normalised target of the request, if it differs, or why the path is rejected.
    pub(super) target: Result<Option<Uri>, Error>,
}

impl Routes {
    pub(super) fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| Reverse(route.path.len()));
        let nested: Vec<Vec<NestedRoute>> = routes
            .iter()
            .map(|parent| {
                routes
                    .iter()
                    .flat_map(|route| below(parent, route))
                    .collect()
            })
            .collect();
        let routes = routes.into_iter().map(Arc::new);
        Self(routes.zip(nested).collect())
    }

    /// Returns the route of a request for `uri`.
    pub(super) fn locate(&self, uri: &Uri) -> Option<Located> {
        let collapsed = PathHandling::Collapse.apply(uri.path());
        if let Ok(Cow::Owned(path)) = &collapsed
            && let Some((route, nested)) = self.find(path)
            && route.requests.paths == PathHandling::Collapse
        {
            let checked = check(route, nested, path);
            let target = checked.and_then(|()| with_path(uri, path).map(Some));
            let route = Arc::clone(route);
            return Some(Located { route, target });
        }
        let (route, nested) = self.find(uri.path())?;
        let target = check(route, nested, uri.path()).map(|()| None);
        let route = Arc::clone(route);
        Some(Located { route, target })
    }

    /// Returns the paths of all routes, for an error.
    pub(super) fn paths(&self) -> String {
        let paths = self.iter().map(|route| match route.path.as_str() {
            "" => "/",
            path => path,
        });
        paths.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter().map(|(route, _)| &**route)
    }

    /// Returns the route with the longest matching path. GraphQL routes match with or without a
    /// trailing slash and by their realtime paths; others match all paths below them, which for Events are channels.
    fn find(&self, path: &str) -> Option<&(Arc<Route>, Vec<NestedRoute>)> {
        let is_graphql = |route: &Route| kind(route) == UpstreamKind::Graphql;
        let own = self.0.iter().find(|(route, _)| {
            let rest = path.strip_prefix(route.path.as_str());
            match (kind(route), rest) {
                (UpstreamKind::Graphql, Some("" | "/" | "/realtime")) => true,
                (UpstreamKind::Events | UpstreamKind::Http, Some(rest)) => {
                    rest.is_empty() || rest.starts_with('/')
                }
                (UpstreamKind::Graphql | UpstreamKind::Events | UpstreamKind::Http, _) => false,
            }
        });
        let bare = || {
            let only_one = self.iter().filter(|route| is_graphql(route)).count() == 1;
            let is_bare = only_one && path == "/realtime";
            let mut all = self.0.iter();
            all.find(|(route, _)| is_bare && is_graphql(route))
        };
        own.or_else(bare)
    }
}

fn kind(route: &Route) -> UpstreamKind {
    route.upstream.endpoint().kind
}

/// Returns the paths of `route` that lie below `parent`.
fn below(parent: &Route, route: &Route) -> Vec<NestedRoute> {
    let nested =
        |path: &str, matching| NestedRoute::below(&parent.path, &route.name, path, matching);
    let nested: Vec<Option<NestedRoute>> = match kind(route) {
        UpstreamKind::Events | UpstreamKind::Http => vec![nested(&route.path, Matching::Below)],
        UpstreamKind::Graphql => {
            let realtime = format!("{}/realtime", route.path);
            vec![
                nested(&route.path, Matching::Exact),
                nested(&realtime, Matching::Exact),
            ]
        }
    };
    nested.into_iter().flatten().collect()
}

fn check(route: &Route, nested: &[NestedRoute], path: &str) -> Result<(), Error> {
    let below = path.strip_prefix(route.path.as_str()).unwrap_or_default();
    let endpoint = route.upstream.endpoint();
    let top = match (endpoint.kind, route.path.as_str(), endpoint.path.as_str()) {
        // It matches exactly, so nothing is below it.
        (UpstreamKind::Graphql, _, _) => return Ok(()),
        (UpstreamKind::Events | UpstreamKind::Http, "", "") => Top::Closed,
        (UpstreamKind::Events | UpstreamKind::Http, _, _) => Top::Open,
    };
    if endpoint.kind == UpstreamKind::Http {
        route.requests.paths.apply(below)?;
    }
    Ok(readings::check(below, nested, top)?)
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, Error> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    target.parse().map_err(|_| TargetError::Invalid.into())
}
