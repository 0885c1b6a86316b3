//! Relative links in Markdown lead to files and headings that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::source::{root, texts};

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let pages: BTreeMap<PathBuf, String> = texts()
        .into_iter()
        .filter(is_page)
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(pages.len() > 50, "only {} pages are read", pages.len());
    let anchors = |path: &Path| pages.get(path).map(|text| headings(text));
    let mut broken = Vec::new();
    let mut count = 0;
    for (path, text) in &pages {
        for (line, target) in links(text) {
            count += 1;
            if let Err(reason) = check(path, &target, &anchors) {
                let page = path.strip_prefix(root()).unwrap().display();
                broken.push(format!("{page}:{line}: {target}: {reason}"));
            }
        }
    }
    assert!(count > 100, "only {count} links are checked");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The documentation site takes its contents from these two lists.
#[test]
fn every_page_is_in_the_contents() {
    let docs = root().join("docs");
    let lists = [docs.join("README.md"), docs.join("clients/README.md")];
    let mut listed = BTreeSet::from([lists[0].clone()]);
    for list in &lists {
        let text = fs::read_to_string(list).unwrap();
        let items: String = text
            .lines()
            .filter(|line| line.starts_with("- ["))
            .map(|line| format!("{line}\n"))
            .collect();
        let folder = list.parent().unwrap();
        listed.extend(links(&items).iter().map(|(_, link)| folder.join(link)));
    }
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let pages = texts().into_iter().filter(is_page);
    let missing: Vec<PathBuf> = pages
        .filter(|page| page.starts_with(&docs) && !listed.contains(page))
        .collect();
    assert!(missing.is_empty(), "not in docs/README.md: {missing:?}");
    assert!(listed.len() > 40, "only {} pages are listed", listed.len());
}

#[test]
fn broken_links_are_found() {
    let text = "# A title: `x`, y\n\n## Twice\n## Twice\n\n```sh\n# not a heading\n[a](b)\n```\n\
                `[c](d)` [e](#f)\n    # nor this\n";
    let expected = ["a-title-x-y", "twice", "twice-1"].map(str::to_owned);
    assert_eq!(headings(text), BTreeSet::from(expected));
    assert_eq!(links(text), [(10, "#f".to_owned())]);
    let page = root().join("README.md");
    let anchors = |path: &Path| (path == page).then(|| headings(text));
    for target in [
        "#twice-1",
        "README.md#twice",
        "Cargo.toml",
        "src",
        "docs/../LICENSE",
    ] {
        assert_eq!(check(&page, target, &anchors), Ok(()), "{target}");
    }
    for target in [
        "#thrice",
        "README.md#thrice",
        "absent.md",
        "Cargo.toml#a",
        "../a",
    ] {
        assert!(check(&page, target, &anchors).is_err(), "{target}");
    }
}

/// Returns the relative links of a page, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Every second part is code.
        for part in line.split('`').step_by(2) {
            for rest in part.split("](").skip(1) {
                let target = rest.split([')', ' ']).next().unwrap_or_default();
                if !target.contains(':') {
                    links.push((number, target.to_owned()));
                }
            }
        }
    }
    links
}

/// Returns the anchors of a page's headings, as GitHub forms them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut unique = anchor.clone();
        let mut copies = 0;
        while !anchors.insert(unique) {
            copies += 1;
            unique = format!("{anchor}-{copies}");
        }
    }
    anchors
}

/// Returns the numbered lines of a page outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate();
    lines.filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((index + 1, line))
    })
}

/// Checks a link of a page.
fn check(
    page: &Path,
    target: &str,
    anchors: &dyn Fn(&Path) -> Option<BTreeSet<String>>,
) -> Result<(), &'static str> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let mut file = page.to_owned();
    if !path.is_empty() {
        file.pop();
        for component in Path::new(path).components() {
            match component {
                Component::ParentDir => _ = file.pop(),
                Component::Normal(name) => file.push(name),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
    }
    if !file.starts_with(root()) || !file.exists() {
        return Err("the file does not exist");
    }
    let is_found = anchor.is_empty() || anchors(&file).is_some_and(|all| all.contains(anchor));
    if is_found {
        Ok(())
    } else {
        Err("the page has no such heading")
    }
}
