//! Finds the name that a mistyped one probably stands for.

/// Returns the names that are most like `word`, the best one first. At most a third of the letters of a
/// name may differ; case does not count.
pub(crate) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let word = word.to_lowercase();
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&word, &name.to_lowercase());
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .collect();
    near.sort_unstable();
    near.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_best_first() {
        let check = |word: &str, expected: &[&str]| {
            let names = ["listen", "limits", "log", "pool", "route"];
            assert_eq!(nearest(word, names), expected, "{word}");
        };
        check("lisen", &["listen"]);
        check("LIMIT", &["limits"]);
        check("lgo", &["log"]);
        check("routes", &["route"]);
        check("frobnicate", &[]);
    }
}
