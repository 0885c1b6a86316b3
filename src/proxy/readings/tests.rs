//! Tables of paths, and random ones against independent normalisers.

use super::*;
use crate::sign::{PathHandling, RequestTarget};

/// Routes below `/api`: `/api/admin`, `/api/v1/secret`, and GraphQL at `/api/graphql`.
fn nested() -> Vec<NestedRoute> {
    let nested = |route, path, matching| NestedRoute::below("/api", route, path, matching).unwrap();
    vec![
        nested("admin", "/api/admin", Matching::Below),
        nested("secret", "/api/v1/secret", Matching::Below),
        nested("graphql", "/api/graphql", Matching::Exact),
        nested("graphql", "/api/graphql/realtime", Matching::Exact),
    ]
}

/// The segments that another server reads in a path.
type Normaliser = fn(&str) -> Vec<String>;

/// Independent of the code they are compared with, and of each other where servers are.
const NORMALISERS: [(&str, Normaliser); 12] = [
    ("as it is", |path| names(path, false)),
    ("RFC 3986", |path| resolve(&names(path, false))),
    ("nginx", |path| resolve(&names(&unescape(path), true))),
    ("Go ServeMux", |path| resolve(&names(&unescape(path), true))),
    ("decoded twice", |path| {
        resolve(&names(&unescape(&unescape(path)), true))
    }),
    ("decoded twice, merged between", |path| {
        let once = resolve(&names(&unescape(path), true));
        resolve(&names(&unescape(&format!("/{}", once.join("/"))), true))
    }),
    ("Tomcat", |path| {
        let path = path.replace('\\', "/");
        let plain: Vec<String> = names(&path, false)
            .iter()
            .map(|s| no_parameters(s))
            .collect();
        let path = unescape(&format!("/{}", plain.join("/")));
        resolve(&names(&path, true))
    }),
    ("Spring", |path| {
        let segments = names(path, true);
        segments
            .iter()
            .map(|segment| unescape(&no_parameters(segment)))
            .collect()
    }),
    ("WHATWG URL, then Express", |path| {
        let path: String = path.chars().filter(|c| !"\t\r\n".contains(*c)).collect();
        let path = path
            .replace('\\', "/")
            .replace("%2e", ".")
            .replace("%2E", ".");
        let segments = resolve(&names(&path, false));
        segments
            .iter()
            .map(|segment| unescape(segment).to_lowercase())
            .collect()
    }),
    ("Windows", |path| {
        let path = unescape(path).replace('\\', "/").to_lowercase();
        let segments = resolve(&names(&path, true));
        segments
            .iter()
            .map(|segment| segment.trim_end_matches(['.', ' ']).to_owned())
            .filter(|segment| !segment.is_empty())
            .collect()
    }),
    ("decoded as a form, trimmed", |path| {
        let path = unescape(&path.replace('+', " "));
        let trimmed = names(&path, true);
        let trimmed = trimmed.iter().map(|segment| segment.trim().to_owned());
        resolve(&trimmed.filter(|s| !s.is_empty()).collect::<Vec<_>>())
    }),
    ("ends at NUL, ? and #", |path| {
        let path = unescape(path);
        let path = path.split(['\0', '?', '#']).next().unwrap();
        resolve(&names(path, true))
    }),
];

fn names(path: &str, merges: bool) -> Vec<String> {
    let names = path.strip_prefix('/').unwrap_or(path).split('/');
    let names = names.filter(|name| !merges || !name.is_empty());
    names.map(str::to_owned).collect()
}

fn resolve(names: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        match name.as_str() {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(name.clone()),
        }
    }
    kept
}

fn no_parameters(name: &str) -> String {
    name.split(';').next().unwrap().to_owned()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let digits = digits.filter(|digits| !digits.starts_with('+'));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Returns the normaliser that reads the path sent for `below` as a path of another route, or as one
/// outside of the base.
fn misread(below: &str) -> Option<&'static str> {
    let target = RequestTarget::below("/prod", below, None, PathHandling::Keep).ok()?;
    let found = NORMALISERS.iter().find(|(_, normalise)| {
        let names = normalise(target.as_str());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["prod", "admin", ..] | ["prod", "v1", "secret", ..] => true,
            ["prod", "graphql"] | ["prod", "graphql", "realtime"] => true,
            ["prod", ..] => false,
            _ => true,
        }
    });
    found.map(|(name, _)| *name)
}

#[track_caller]
fn check_below(below: &str, expected: Result<(), &str>) {
    let found = check(below, &nested(), Top::Open).map_err(|error| error.to_string());
    match expected {
        Ok(()) => assert_eq!(found, Ok(()), "{below}"),
        Err(part) => {
            let message = found.expect_err(below);
            assert!(message.contains(part), "{below}: {message}");
        }
    }
}

#[test]
fn paths_with_one_reading_pass() {
    for below in [
        "",
        "/",
        "/items",
        "/items/",
        "/administrator",
        "/admi",
        "/x/admin",
        "/x/%61dmin",
        "/v1",
        "/v1/",
        "/v1/secrets",
        "/v1/x/secret",
        "/graphql/schema",
        "/a%2Fb",
        "/a%2fadmin",
        "/a;b=c",
        "/a;admin",
        "/a//b",
        "/a/./b/../c",
        "/a/b/../../c",
        "/...",
        "/.../x/....",
        "/+",
        "/+49-30/a+b/+/x+",
        "/+administrator",
        "/..a/.hidden",
        "/%zz",
        "/100%",
        "/%25",
        "/é/%C3%A9/%FF",
        "/a\\b",
        "/a%00b",
        "/a%3Fb",
        "/key%2F%2Fwith%2Fslashes",
    ] {
        check_below(below, Ok(()));
    }
}

#[test]
fn other_readings_of_a_nested_route_are_rejected() {
    let selects = "\" in a path differently: it may lead to the route";
    for (spelling, part) in [
        ("%61dmin", "%61dmin"),
        ("adm%69n", "adm%69n"),
        ("%2561dmin", "%2561dmin"),
        ("%25%36%31dmin", "%25%36%31dmin"),
        ("Admin", "Admin"),
        ("ADMIN", "ADMIN"),
        ("%EF%BD%81dmin", "%EF%BD%81dmin"),
        ("%u0061dmin", "%u0061dmin"),
        ("admin.", "admin."),
        ("admin..", "admin.."),
        ("admin%20", "admin%20"),
        ("admin+", "admin+"),
        ("+admin", "+admin"),
        ("+Admin+.", "+Admin+."),
        ("admin%2b", "admin%2b"),
        ("%2Badmin", "%2Badmin"),
        ("+/admin", "\"+\""),
        (".+/admin", ".+"),
        (".../admin", "\"...\""),
        ("..../admin", "\"....\""),
        (".%2e./admin", ".%2e."),
        (".%20./admin", ".%20."),
        ("x/..+/admin", "..+"),
        ("x/+../admin", "+.."),
        ("x/..%2b/admin", "..%2b"),
        ("admin;x=y", "admin;x=y"),
        ("admin%3bx", "admin%3bx"),
        ("admin%00", "admin%00"),
        ("admin%00.png", "admin%00.png"),
        ("ad%09min", "ad%09min"),
        ("admin%0a", "admin%0a"),
        ("admin%3Fx", "admin%3Fx"),
        ("admin%23", "admin%23"),
        ("admin%2fx", "admin%2fx"),
        ("admin%252fx", "admin%252fx"),
        ("admin\\x", "admin\\\\x"),
        ("admin%5cx", "admin%5cx"),
        (";x/admin", ";x"),
        ("/admin", "//"),
        ("./admin", "\".\""),
        ("%2e/admin", "%2e"),
        ("%252e/admin", "%252e"),
        ("x/../admin", "\"..\""),
        ("x/%2e%2E/admin", "%2e%2E"),
        ("x/%252e%252e/admin", "%252e%252e"),
        ("x/..;/admin", "..;"),
        ("x/..;y=z/admin", "..;y=z"),
        ("x/..%00/admin", "..%00"),
        ("x/..%09/admin", "..%09"),
        ("x/..%20/admin", "..%20"),
        ("x/.%00./admin", ".%00."),
        ("x/..\\admin", "..\\\\admin"),
        ("x%5c..%5cadmin", "x%5c..%5cadmin"),
        ("x%2f..%2fadmin", "x%2f..%2fadmin"),
        ("x/..%252fadmin", "..%252fadmin"),
        ("x/%c0%ae%c0%ae/admin", "%c0%ae%c0%ae"),
        ("x/%e0%80%ae./admin", "%e0%80%ae."),
        ("x%c0%af..%c0%afadmin", "x%c0%af..%c0%afadmin"),
        ("x/y/..//../admin", "\"..\""),
    ] {
        for below in [format!("/{spelling}"), format!("/{spelling}/users/1")] {
            check_below(&below, Err(part));
            check_below(&below, Err(selects));
        }
    }
    check_below("/v1/%73ecret", Err("the route secret (/api/v1/secret)"));
    check_below("/x/../v1/./secret", Err("the route secret"));
    check_below("/v1/x/..;/secret", Err("the route secret"));
    check_below("/v1%2Fsecret", Err("the route secret"));
    check_below("/v1/.../secret", Err("the route secret"));
    check_below("/v1+/+secret", Err("the route secret"));
    check_below("/graphql/", Err("the route graphql (/api/graphql)"));
    check_below("/graphql;x", Err("the route graphql"));
    check_below("/%67raphql/realtime", Err("(/api/graphql/realtime)"));
}

#[test]
fn readings_that_leave_the_route_are_rejected_without_nested_routes_too() {
    let leaves = "it may lead out of the route";
    for below in [
        "/..",
        "/../x",
        "/%2e%2e/x",
        "/%252e%252e/x",
        "/%25252e./x",
        "/..;/x",
        "/..;a=b",
        "/..%00",
        "/..%2fx",
        "/..\\x",
        "/..%5Cx",
        "/..+/x",
        "/+../x",
        "/..%2b",
        "/.../../x",
        "/a/..../../../x",
        "/a/+/../../x",
        "/a/../../x",
        "/a/..;/..;/x",
        "/a//../../x",
        "/a%2Fb/../../x",
        "/./../x",
        "/a;/..;/..;/x",
        "/%c0%ae%c0%ae/x",
    ] {
        for nested in [nested(), Vec::new()] {
            let error = check(below, &nested, Top::Open).expect_err(below);
            assert!(error.to_string().contains(leaves), "{below}: {error}");
        }
        // With `/` before and behind, there is nothing to leave.
        assert_eq!(check(below, &[], Top::Closed), Ok(()), "{below}");
    }
    let nested = [NestedRoute::below("", "api", "/api", Matching::Below).unwrap()];
    let error = check("/../x/..;/api/y", &nested, Top::Closed).unwrap_err();
    assert!(error.to_string().contains("the route api"), "{error}");
    assert_eq!(check("/../x", &nested, Top::Closed), Ok(()));
}

#[test]
fn no_normaliser_reads_an_accepted_path_as_another_routes() {
    const NAMES: [&str; 41] = [
        "admin",
        "%61dmin",
        "ADMIN",
        "admin;x",
        "admin.",
        "admin%20",
        "admin+",
        "+admin",
        "admin%00",
        "v1",
        "secret",
        "%73ecret",
        "graphql",
        "realtime",
        "x",
        "y;z",
        "%41",
        "..",
        ".",
        "",
        "%2e",
        "%2E%2e",
        "%252e%252e",
        "..;",
        "..;a=b",
        ";x",
        "..%00",
        "%2e.",
        ".%2e;",
        "%3b",
        "a%3Fb",
        "%23",
        "..%20",
        "..+",
        "...",
        "+",
        "%09..",
        "adm%09in",
        "%",
        "%25",
        "é",
    ];
    const SEPARATORS: [&str; 10] = ["/", "/", "/", "/", "//", "\\", "%2f", "%5c", "%252F", "/./"];
    let mut random = fastrand::Rng::with_seed(0x0da7);
    let nested = nested();
    let (mut accepted, mut rejected, mut misreadable) = (0, 0, 0);
    for _ in 0..40_000 {
        let mut below = String::new();
        for at in 0..random.usize(1..6) {
            let separator = if at == 0 {
                "/"
            } else {
                SEPARATORS[random.usize(..10)]
            };
            below.push_str(separator);
            below.push_str(NAMES[random.usize(..NAMES.len())]);
        }
        let by = misread(&below);
        misreadable += usize::from(by.is_some());
        // Paths that the plain reading selects go to the nested route itself.
        match check(&below, &nested, Top::Open) {
            Ok(()) => {
                accepted += 1;
                assert_eq!(by, None, "{below}");
            }
            Err(_) => rejected += 1,
        }
    }
    assert!(
        accepted > 2_000 && misreadable > 2_000,
        "{accepted} {misreadable}"
    );
    // Only readings that mix normalisers are rejected beyond these.
    assert!(rejected < misreadable * 2, "{rejected} {misreadable}");
}

#[test]
fn hostile_paths_are_checked_in_bounded_time() {
    let long = |part: &str| part.repeat(10_000 / part.len());
    for part in [
        "/", "/..;", "/v1", "/v1/..;", "%2f", "/x%2f..", "\\", "/%25252e", ";/",
    ] {
        let below = format!("/v1{}", long(part));
        // Either answer will do; what counts is that there is one.
        let _ = check(&below, &nested(), Top::Open);
        let _ = check(&below, &[], Top::Open);
    }
    let escapes = format!("/{}2e", long("%25"));
    let _ = check(&escapes, &nested(), Top::Open);
}
