//! Rejects paths that servers read differently.
//!
//! The plain text of a path selects the route, and the path below the route is sent unchanged. The
//! upstream, however, may:
//!
//! - decode escapes, once or several times;
//! - split at `\` or at an escaped slash;
//! - remove path parameters (`;x`), empty segments or control characters;
//! - resolve dot segments;
//! - end the path at an escaped NUL, `?` or `#`;
//! - take `+` for a space;
//! - ignore case;
//! - ignore dots and spaces at the end of a name, and so an entire name of three or more dots.
//!
//! Every combination of these is a *reading* of the path. [`check`] follows all readings at once, and
//! rejects a path if one of them leads to another route or out of the route's own path. A server may
//! treat each segment in a different way. Nothing here rewrites a path.

use std::collections::BTreeSet;

use countersign_protocol::graphql::shown;

/// A route whose path is below the path of another route.
#[derive(Clone, Debug)]
pub struct NestedRoute {
    route: String,
    path: String,
    /// The segments of its path below the other route, as [`fold`] returns them.
    segments: Vec<String>,
    matching: Matching,
}

/// Which paths belong to a nested route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Only its own path.
    Exact,
    /// Its own path and everything below it.
    Below,
}

/// The effect of a `..` directly below the route's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// It leads out of the route.
    Open,
    /// It has no effect (RFC 3986, section 5.2.4), because the paths of the route and of its target
    /// are both `/`.
    Closed,
}

/// Why a path is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousPath {
    #[error("servers read {part:?} in a path differently: it may lead out of the route. {ADVICE}")]
    Leaves { part: String },
    #[error(
        "servers read {part:?} in a path differently: it may lead to the route {route} ({path}). {ADVICE}"
    )]
    Selects {
        part: String,
        route: String,
        path: String,
    },
    #[error("servers read {part:?} in a path in too many different ways. {ADVICE}")]
    Unclear { part: String },
}

const ADVICE: &str = "Send the path without escapes, or set odd_paths = \"collapse\" on the \
                      intended route, which resolves \"//\", \".\" and \"..\"";

/// How often a segment is decoded at most, which is more than any known server does.
const MAX_ROUNDS: usize = 8;
/// The maximum number of positions that are followed at once. Without nested routes of several
/// segments there is only one.
const MAX_POSITIONS: usize = 256;

/// The position of a reading below a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    /// How many first segments of the nested route have matched.
    matched: usize,
    /// How many segments follow these.
    beyond: usize,
}

#[derive(Clone, Debug, Default)]
struct Positions(BTreeSet<Position>);

/// The effect of a segment on a position.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Up,
    Stay,
    /// Into a name, as [`fold`] returns it.
    Into(String),
    /// Into a name that no route has.
    Beyond,
}

/// A part of a segment between `\` or escaped slashes. Some servers read it as a segment.
struct SegmentPart {
    steps: Vec<Step>,
    /// Some servers remove the rest of the segment.
    ends_segment: bool,
    /// Some servers remove the rest of the path.
    ends_path: bool,
}

enum Fault {
    Leaves,
    Selects,
    Unclear,
}

struct Walk<'a> {
    nested: Option<&'a NestedRoute>,
    top: Top,
}

/// Checks `below`, the path below a route, which is empty or begins with `/`. The caller has checked
/// that its plain text belongs to none of the nested routes.
///
/// # Errors
/// When a reading leaves the route or leads to a nested one.
pub fn check(below: &str, nested: &[NestedRoute], top: Top) -> Result<(), AmbiguousPath> {
    if nested.is_empty() && below.split('/').skip(1).all(is_plain) {
        return Ok(());
    }
    // Without nested routes, the walk still checks whether the path leaves its own route.
    let walks: Vec<Option<&NestedRoute>> = match nested {
        [] => vec![None],
        nested => nested.iter().map(Some).collect(),
    };
    for nested in walks {
        Walk { nested, top }.run(below)?;
    }
    Ok(())
}

impl NestedRoute {
    /// Returns the route named `route`, whose path is `path`, if it is below `parent`, the path of
    /// another route.
    pub fn below(parent: &str, route: &str, path: &str, matching: Matching) -> Option<Self> {
        let rest = path.strip_prefix(parent)?.strip_prefix('/')?;
        Some(Self {
            route: route.to_owned(),
            path: path.to_owned(),
            segments: rest.split('/').map(fold).collect(),
            matching,
        })
    }
}

impl Walk<'_> {
    fn run(&self, below: &str) -> Result<(), AmbiguousPath> {
        let segments: Vec<&str> = below.split('/').skip(1).collect();
        let mut positions = Positions::start();
        // The segment that led into the nested route, if a reading is there.
        let mut entered = None;
        for (at, segment) in segments.iter().enumerate() {
            let next = self.segment(&positions, segment);
            positions = next.map_err(|fault| self.error(fault, &segments, at))?;
            let is_inside = self.check_end(&positions).is_err();
            entered = is_inside.then(|| entered.unwrap_or(at));
        }
        let at = entered.unwrap_or_default();
        let end = self.check_end(&positions);
        end.map_err(|fault| self.error(fault, &segments, at))
    }

    fn segment(&self, from: &Positions, segment: &str) -> Result<Positions, Fault> {
        if is_plain(segment) {
            return self.step(from, &[Step::Into(fold(segment))]);
        }
        let text = decode_fully(segment);
        let mut pieces = text.split(['/', '\\']).peekable();
        // Readings in which a segment begins here, and readings in which an earlier one continues,
        // whose step has been taken.
        let (mut at, mut within) = (from.clone(), Positions::default());
        while let Some(piece) = pieces.next() {
            let piece = SegmentPart::of(piece);
            let stepped = self.step(&at, &piece.steps)?;
            if piece.ends_path {
                self.check_end(&stepped)?;
                self.check_end(&within)?;
            }
            if pieces.peek().is_none() {
                return stepped.and(&within);
            }
            let mut joined = self.step(&at, &[Step::Beyond])?.and(&within)?;
            if piece.ends_segment {
                joined = joined.and(&stepped)?;
            }
            at = stepped.and(&within)?;
            within = joined;
        }
        Ok(at)
    }

    fn step(&self, from: &Positions, steps: &[Step]) -> Result<Positions, Fault> {
        let mut positions = Positions::default();
        for position in &from.0 {
            for step in steps {
                positions.add(self.one_step(*position, step)?)?;
            }
        }
        Ok(positions)
    }

    fn one_step(&self, position: Position, step: &Step) -> Result<Position, Fault> {
        let Position { matched, beyond } = position;
        let further = Position {
            matched,
            beyond: beyond + 1,
        };
        match step {
            Step::Stay => Ok(position),
            Step::Beyond => Ok(further),
            Step::Into(name) => {
                let segments = self.nested.map(|nested| nested.segments.as_slice());
                let next = segments.unwrap_or_default().get(matched);
                match next {
                    Some(next) if beyond == 0 && next == name => Ok(Position {
                        matched: matched + 1,
                        beyond,
                    }),
                    Some(_) | None => Ok(further),
                }
            }
            Step::Up => match (matched, beyond, self.top) {
                (0, 0, Top::Open) => Err(Fault::Leaves),
                (0, 0, Top::Closed) => Ok(position),
                (_, 0, _) => Ok(Position {
                    matched: matched - 1,
                    beyond,
                }),
                (_, _, _) => Ok(Position {
                    matched,
                    beyond: beyond - 1,
                }),
            },
        }
    }

    /// Checks a path that ends at `positions`.
    fn check_end(&self, positions: &Positions) -> Result<(), Fault> {
        let Some(nested) = self.nested else {
            return Ok(());
        };
        let is_inside = |position: &Position| {
            position.matched == nested.segments.len()
                && (nested.matching == Matching::Below || position.beyond == 0)
        };
        if positions.0.iter().any(is_inside) {
            Err(Fault::Selects)
        } else {
            Ok(())
        }
    }

    /// Returns the error for a fault at the segment `at`. It quotes the last segment up to there that
    /// is not plain.
    fn error(&self, fault: Fault, segments: &[&str], at: usize) -> AmbiguousPath {
        let seen = segments.get(..=at).unwrap_or(segments);
        let odd = seen.iter().rev().find(|segment| !is_plain(segment));
        let part = match odd.or(seen.last()).copied().unwrap_or_default() {
            "" => "//".to_owned(),
            part => shown(part),
        };
        match (fault, self.nested) {
            (Fault::Leaves, _) => AmbiguousPath::Leaves { part },
            (Fault::Selects, Some(nested)) => AmbiguousPath::Selects {
                part,
                route: nested.route.clone(),
                path: nested.path.clone(),
            },
            (Fault::Selects | Fault::Unclear, _) => AmbiguousPath::Unclear { part },
        }
    }
}

impl Positions {
    fn start() -> Self {
        Self(BTreeSet::from([Position {
            matched: 0,
            beyond: 0,
        }]))
    }

    /// Adds a position. Of those without a match only the highest is kept: it reaches everything that
    /// a lower one reaches, or leaves the route.
    fn add(&mut self, position: Position) -> Result<(), Fault> {
        let highest = self.0.first().copied();
        match highest.filter(|highest| highest.matched == 0 && position.matched == 0) {
            Some(highest) if highest.beyond <= position.beyond => return Ok(()),
            Some(lower) => {
                self.0.remove(&lower);
            }
            None => {}
        }
        self.0.insert(position);
        match self.0.len() {
            0..=MAX_POSITIONS => Ok(()),
            _ => Err(Fault::Unclear),
        }
    }

    fn and(mut self, others: &Self) -> Result<Self, Fault> {
        for position in &others.0 {
            self.add(*position)?;
        }
        Ok(self)
    }
}

impl SegmentPart {
    fn of(text: &str) -> Self {
        let ends_path = |c: char| matches!(c, '?' | '#') || c.is_control();
        let ends = |c: char| c == ';' || ends_path(c);
        let cut = text.split(ends).next().unwrap_or_default();
        let name = text.split([';', '?', '#']).next().unwrap_or_default();
        let printable: String = name.chars().filter(|c| !c.is_control()).collect();
        let mut steps: Vec<Step> = [text, cut, &printable].map(Step::of).into();
        steps.push(Step::Beyond);
        // Servers that ignore dots and spaces at the end of a segment ignore `...` and `.. `.
        if printable != ".." && fold(&printable).is_empty() {
            steps.push(Step::Stay);
        }
        steps.dedup();
        Self {
            steps,
            ends_segment: text.contains(ends),
            ends_path: text.contains(ends_path),
        }
    }
}

impl Step {
    fn of(name: &str) -> Self {
        match name.trim_matches(is_space) {
            "" | "." => Self::Stay,
            ".." => Self::Up,
            name => Self::Into(fold(name)),
        }
    }
}

/// Returns whether all servers read a segment in the same way, apart from its case and from the dots
/// and spaces (`+`) at its end.
fn is_plain(segment: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~@:!$&'()*+,=".contains(&b);
    let is_name = segment.bytes().any(|b| !b".+".contains(&b));
    is_name && !segment.starts_with('+') && segment.bytes().all(is_plain)
}

/// Returns whether a server may read `c` as a space. Decoders of forms read `+` as one.
fn is_space(c: char) -> bool {
    c == '+' || c.is_whitespace()
}

/// Returns a name as the most lenient servers compare it: without case, and without dots and spaces
/// at its end.
fn fold(name: &str) -> String {
    let name = name.trim_end_matches(|c| c == '.' || is_space(c));
    let spaced = name.chars().map(|c| if c == '+' { ' ' } else { c });
    let upper = spaced.flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).collect()
}

/// Decodes a segment until nothing changes, including the Windows forms `%uXXXX` and full-width
/// characters.
fn decode_fully(segment: &str) -> String {
    let mut bytes = segment.as_bytes().to_vec();
    for _ in 0..MAX_ROUNDS {
        let decoded = decode(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    let narrow = |c: char| match u32::from(c) {
        wide @ 0xFF01..=0xFF5E => char::from_u32(wide - 0xFEE0).unwrap_or(c),
        _ => c,
    };
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(narrow)
        .collect()
}

/// Decodes once, including the overlong forms of ASCII that old UTF-8 decoders accept.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let number = |digits: &[u8]| {
        let mut digits = digits.iter();
        digits.try_fold(0, |number, byte| Some(number * 16 + digit(*byte)?))
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let (code, tail) = match rest {
            [] => return out,
            [b'%', b'u' | b'U', a, b, c, d, tail @ ..] => (number(&[*a, *b, *c, *d]), tail),
            [b'%', a, b, tail @ ..] => {
                // One byte, which may be a part of a character.
                if let Some(byte) = number(&[*a, *b]).and_then(|code| u8::try_from(code).ok()) {
                    out.push(byte);
                    rest = tail;
                    continue;
                }
                (None, tail)
            }
            [a @ 0xC0..=0xC1, b @ 0x80..=0xBF, tail @ ..]
            | [0xE0, a @ 0x80..=0x81, b @ 0x80..=0xBF, tail @ ..] => {
                (Some((u32::from(*a) & 1) << 6 | u32::from(*b) & 0x3F), tail)
            }
            [_, tail @ ..] => (None, tail),
        };
        match (code.and_then(char::from_u32), rest) {
            (Some(character), _) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            }
            (None, [first, tail @ ..]) => {
                out.push(*first);
                rest = tail;
            }
            (None, []) => return out,
        }
    }
}

#[cfg(test)]
mod tests;
