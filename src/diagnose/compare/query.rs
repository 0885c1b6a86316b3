//! The line of the query.

use super::super::cause::Cause;
use super::super::encode::{Slash, decode, decode_query, encode, quoted};

type Pair = (Vec<u8>, Vec<u8>);

/// More mistakes than these are not listed.
const MAX_LISTED: usize = 5;

/// Returns why two different queries differ.
pub(super) fn difference(yours: &str, aws: &str) -> (Cause, Option<String>) {
    if yours.is_empty() {
        return (Cause::QueryMissing, None);
    }
    let (your_pairs, aws_pairs) = (pairs(yours, decode_query), pairs(aws, decode_query));
    if sorted(&your_pairs) == sorted(&aws_pairs) {
        return same_parameters(yours, &your_pairs, &aws_pairs);
    }
    // A signer that reads `+` literally encodes it as `%2B`, where AWS reads a space.
    let plus_as_space = |pairs: &[Pair]| -> Vec<Pair> {
        let spaced = |text: &[u8]| -> Vec<u8> {
            let spaced = text.iter().map(|b| if *b == b'+' { b' ' } else { *b });
            spaced.collect()
        };
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (spaced(name), spaced(value)))
            .collect()
    };
    if sorted(&plus_as_space(&your_pairs)) == sorted(&aws_pairs) {
        return (Cause::QueryPlus, None);
    }
    let twice = |text: &str| decode(&String::from_utf8_lossy(&decode(text)));
    if sorted(&pairs(yours, twice)) == sorted(&pairs(aws, decode_query)) {
        return (Cause::QueryEncodedTwice, None);
    }
    changed_parameters(&your_pairs, &aws_pairs)
}

/// Returns the cause if only the writing of the parameters differs.
fn same_parameters(
    yours: &str,
    your_pairs: &[Pair],
    aws_pairs: &[Pair],
) -> (Cause, Option<String>) {
    let raw: Vec<&str> = yours.split('&').filter(|pair| !pair.is_empty()).collect();
    let strict = |text: &str| encode(&decode_query(text), Slash::Encode);
    let is_strict = |text: &str| strict(text) == text;
    let has_lower_hex = |pair: &&str| {
        pair.to_ascii_uppercase() != **pair && {
            let upper = upper_escapes(pair);
            upper != **pair
        }
    };
    let is_encoded = |pair: &&str| {
        let pair = upper_escapes(pair).replace('+', "%20");
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        is_strict(name) && is_strict(value)
    };
    let mistakes = [
        (your_pairs != aws_pairs, Cause::QueryUnsorted, "not sorted"),
        (
            raw.iter().any(|pair| !pair.contains('=')),
            Cause::QueryBareName,
            "with a name without `=`",
        ),
        (
            raw.iter().any(|pair| pair.contains('+')),
            Cause::QueryPlus,
            "with `+` for a space",
        ),
        (
            raw.iter().any(has_lower_hex),
            Cause::QueryLowerHex,
            "with escapes in lower case",
        ),
        (
            !raw.iter().all(is_encoded),
            Cause::QueryNotEncoded,
            "not encoded",
        ),
    ];
    let found: Vec<_> = mistakes.iter().filter(|(is_made, ..)| *is_made).collect();
    match found.as_slice() {
        // Such as an `&` at the end.
        [] => (
            Cause::QueryNotEncoded,
            Some("it has empty parameters.".to_owned()),
        ),
        [(_, cause, _)] => (*cause, None),
        [(_, cause, first), others @ ..] => {
            let others: Vec<&str> = others.iter().map(|(.., other)| *other).collect();
            (
                *cause,
                Some(format!("it is {first}, and {}.", others.join(", and "))),
            )
        }
    }
}

fn changed_parameters(yours: &[Pair], aws: &[Pair]) -> (Cause, Option<String>) {
    let (added, removed) = (missing(aws, yours), missing(yours, aws));
    let named = |pairs: &[&Pair]| {
        let names = pairs.iter().take(MAX_LISTED);
        let names = names.map(|(name, _)| quoted(&String::from_utf8_lossy(name)));
        names.collect::<Vec<_>>().join(", ")
    };
    match (added.is_empty(), removed.is_empty()) {
        (false, true) => (Cause::QueryAdded, Some(format!("{}.", named(&added)))),
        (true, false) => (Cause::QueryRemoved, Some(format!("{}.", named(&removed)))),
        (true, true) | (false, false) => {
            (Cause::QueryChanged, Some(format!("{}.", named(&removed))))
        }
    }
}

/// Returns the pairs that are in `of` and not in `from`.
fn missing<'a>(of: &'a [Pair], from: &[Pair]) -> Vec<&'a Pair> {
    let from = sorted(from);
    let pairs = of.iter();
    pairs
        .filter(|pair| from.binary_search(pair).is_err())
        .collect()
}

fn pairs(query: &str, decode: impl Fn(&str) -> Vec<u8>) -> Vec<Pair> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn sorted(pairs: &[Pair]) -> Vec<Pair> {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    pairs
}

/// Writes the digits of each escape in upper case.
fn upper_escapes(text: &str) -> String {
    let mut left = 0_u8;
    let upper = text.chars().map(|c| {
        let is_digit = left > 0;
        left = if c == '%' { 2 } else { left.saturating_sub(1) };
        if is_digit { c.to_ascii_uppercase() } else { c }
    });
    upper.collect()
}
