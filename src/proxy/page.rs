//! The page that a browser receives at `/` and at the paths of AppSync routes. It explains what the port
//! is and how to use it. Nothing is signed or sent for it. While the inspector is on, the path of a GraphQL
//! route leads to GraphiQL instead, a page of the inspector.

use std::net::SocketAddr;

use http::header::{CACHE_CONTROL, HOST, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};

use super::accept::Accept;
use super::body::Body;
use super::html::{TEMPLATE, escape, fill, html};
use super::locate::{Located, Routes};
use super::route::Route;
use crate::guard::{HostName, Scheme, is_read};
use crate::sign::push_strictly;
use crate::upstream::UpstreamKind;

/// Query parameters of operations. A request with one of them does not ask for a page.
const PARAMETERS: [&str; 7] = [
    "query",
    "variables",
    "operationName",
    "extensions",
    "documentId",
    "channel",
    "token",
];

/// Returns whether a request asks for the page: a `GET` that prefers HTML, for `/` or for the path of an
/// AppSync route, without an operation.
pub(super) fn is_asked_for<B>(
    request: &Request<B>,
    located: Option<&Located>,
    accept: Accept,
) -> bool {
    let path = request.uri().path();
    let has_page = match located {
        None => path == "/",
        Some(located) => is_own_path(&located.route, path),
    };
    has_page && is_for_a_browser(request, accept) && !has_operation(request)
}

fn has_operation<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let mut names = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default());
    // A stream of GraphQL over SSE is opened without a query.
    names.any(|name| PARAMETERS.contains(&name))
        || request
            .headers()
            .contains_key("x-graphql-event-stream-token")
}

/// Returns whether a browser would show the response: a `GET` that prefers HTML.
pub(super) fn is_for_a_browser<B>(request: &Request<B>, accept: Accept) -> bool {
    is_read(request) && accept.prefers_html()
}

/// Returns whether the request is for the icon that browsers show beside a page.
pub(super) fn is_icon<B>(request: &Request<B>) -> bool {
    is_read(request) && request.uri().path() == "/favicon.ico"
}

/// Returns the response for the icon, which does not exist.
pub(super) fn no_icon() -> Response<Body> {
    let mut response = Response::new(Body::full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let hour = HeaderValue::from_static("max-age=3600");
    response.headers_mut().insert(CACHE_CONTROL, hour);
    response
}

/// Returns whether a path is a route's own, and not a channel of Events or a path of an application.
fn is_own_path(route: &Route, path: &str) -> bool {
    match route.upstream.endpoint().kind {
        UpstreamKind::Graphql => true,
        UpstreamKind::Events => {
            let below = path.strip_prefix(route.path.as_str());
            matches!(below, Some("" | "/"))
        }
        UpstreamKind::Http => false,
    }
}

/// Returns the page, or the way to GraphiQL. The guard has checked the request. `inspector` is the address of
/// the inspector's pages.
pub(super) fn respond<B>(
    routes: &Routes,
    request: &Request<B>,
    scheme: Scheme,
    asked: Option<&Route>,
    inspector: Option<SocketAddr>,
) -> Response<Body> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    // Unix sockets accept any Host.
    let host = host.filter(|host| HostName::from_header(host).is_some());
    let inspector = inspector.map(|address| inspector_url(address, host));
    if let (Some(url), Some(route)) = (&inspector, asked)
        && route.upstream.endpoint().kind == UpstreamKind::Graphql
    {
        return see_other(&graphiql_url(url, &route.name));
    }
    let routes: Vec<PageRoute<'_>> = routes
        .iter()
        .map(|route| PageRoute {
            name: &route.name,
            path: &route.path,
            kind: route.upstream.endpoint().kind,
            is_asked: asked.is_some_and(|asked| asked.name == route.name),
        })
        .collect();
    let host = host.unwrap_or("localhost");
    let page = render(&routes, host, scheme, inspector.as_deref());
    html(&page)
}

/// Returns the URL of the inspector's page. If its listener accepts every address, a client reaches it by
/// the name by which it has reached this port.
fn inspector_url(address: SocketAddr, host: Option<&str>) -> String {
    let name = host.and_then(HostName::from_header);
    match name {
        Some(name) if address.ip().is_unspecified() => {
            format!("http://{}:{}/inspect/", name.as_str(), address.port())
        }
        None if address.ip().is_unspecified() => {
            format!("http://localhost:{}/inspect/", address.port())
        }
        Some(_) | None => format!("http://{address}/inspect/"),
    }
}

fn graphiql_url(inspector: &str, route: &str) -> String {
    let mut url = format!("{inspector}graphiql?route=");
    push_strictly(&mut url, route);
    url
}

fn see_other(url: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(""));
    let Ok(url) = HeaderValue::from_str(url) else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, url);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A route as the page shows it.
#[derive(Clone, Copy, Debug)]
struct PageRoute<'a> {
    name: &'a str,
    path: &'a str,
    kind: UpstreamKind,
    /// The page was requested at its path.
    is_asked: bool,
}

fn render(routes: &[PageRoute<'_>], host: &str, scheme: Scheme, inspector: Option<&str>) -> String {
    let (http, websocket) = match scheme {
        Scheme::Http => ("http", "ws"),
        Scheme::Https => ("https", "wss"),
    };
    let first = |kind: UpstreamKind| {
        let mut of_kind = routes.iter().filter(|route| route.kind == kind);
        let asked = of_kind.clone().find(|route| route.is_asked);
        let route = asked.or_else(|| of_kind.next())?;
        Some(route.path)
    };
    let (graphql, events) = (first(UpstreamKind::Graphql), first(UpstreamKind::Events));
    let mut template = TEMPLATE.to_owned();
    for (name, path) in [("graphql", graphql), ("events", events)] {
        if path.is_none() {
            remove_section(&mut template, name);
        }
    }
    if inspector.is_none() {
        remove_section(&mut template, "inspector");
    }
    let url = |scheme: &str, path: Option<&str>| {
        escape(&format!("{scheme}://{host}{}", path.unwrap_or_default()))
    };
    fill(&template, |name| match name {
        "version" => escape(env!("CARGO_PKG_VERSION")),
        "routes" => routes.iter().map(|route| row(route, inspector)).collect(),
        "inspector" => escape(inspector.unwrap_or_default()),
        "graphql" => url(http, graphql),
        "websocket" => url(websocket, graphql),
        "events" => url(http, events),
        _ => String::new(),
    })
}

fn row(route: &PageRoute<'_>, inspector: Option<&str>) -> String {
    let path = match route.path {
        "" => "/",
        path => path,
    };
    let kind = match route.kind {
        UpstreamKind::Graphql => "AppSync GraphQL",
        UpstreamKind::Events => "AppSync Events",
        UpstreamKind::Http => "API Gateway or another AWS service, at every path below",
    };
    let path = escape(path);
    let graphiql = inspector
        .filter(|_| route.kind == UpstreamKind::Graphql)
        .map(|url| escape(&graphiql_url(url, route.name)))
        .map(|url| format!("<td><a href=\"{url}\">GraphiQL</a></td>"))
        .unwrap_or_default();
    format!("<tr><td><code>{path}</code></td><td>{kind}</td>{graphiql}</tr>\n")
}

/// Removes a section of the template, which begins with a comment of its name.
fn remove_section(template: &mut String, name: &str) {
    const END: &str = "<!-- end -->\n";
    let Some(start) = template.find(&format!("<!-- {name} -->")) else {
        return;
    };
    let rest = template.split_at(start).1;
    if let Some(length) = rest.find(END) {
        template.replace_range(start..start + length + END.len(), "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str, kind: UpstreamKind) -> PageRoute<'_> {
        PageRoute {
            name: "main",
            path,
            kind,
            is_asked: false,
        }
    }

    #[test]
    fn page_shows_every_route_and_examples_of_their_kinds() {
        let graphql = route("/graphql", UpstreamKind::Graphql);
        let asked = PageRoute {
            is_asked: true,
            ..route("/b", UpstreamKind::Graphql)
        };
        let events = route("/event", UpstreamKind::Events);
        let rest = route("", UpstreamKind::Http);
        for (routes, present, absent) in [
            (
                vec![graphql, events, rest],
                vec![
                    "<code>/graphql</code>",
                    "<code>/event</code>",
                    "<code>/</code>",
                    "curl -s -w '\\n' http://localhost:1/graphql -H",
                    "<code>ws://localhost:1/graphql</code>",
                    "http://localhost:1/event?channel=",
                ],
                vec!["{{", "}}"],
            ),
            (
                vec![graphql, asked],
                vec!["http://localhost:1/b -H"],
                vec!["Events</h2>"],
            ),
            (
                vec![rest],
                vec!["API Gateway"],
                vec!["curl", "GraphQL</h2>", "<!--"],
            ),
        ] {
            let page = render(&routes, "localhost:1", Scheme::Http, None);
            for text in present {
                assert!(page.contains(text), "no {text} in {page}");
            }
            for text in absent {
                assert!(!page.contains(text), "{text} in {page}");
            }
        }
        let page = render(&[graphql], "localhost:1", Scheme::Https, None);
        assert!(page.contains("https://localhost:1/graphql"), "{page}");
        assert!(page.contains("wss://localhost:1/graphql"), "{page}");
    }

    #[test]
    fn every_value_is_escaped() {
        let odd = "/<script>'\"&{{version}}";
        let escaped = "/&lt;script&gt;&#39;&quot;&amp;{{version}}";
        for kind in [
            UpstreamKind::Graphql,
            UpstreamKind::Events,
            UpstreamKind::Http,
        ] {
            let page = render(
                &[route(odd, kind)],
                "<host>",
                Scheme::Http,
                Some("http://<host>/"),
            );
            assert!(
                !page.contains("<script") && !page.contains("<host"),
                "{page}"
            );
            assert!(page.contains(escaped), "{page}");
        }
    }
}
