//! Files that are accepted, and files that are rejected.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;

use super::*;
use crate::platform::set_mode;

#[cfg(unix)]
const RULES: Rules = Rules {
    forbidden: 0o037,
    limit: 16,
};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap().keep())
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        set_mode(&path, mode);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(unix)]
/// Reads a file, and expects its text or an error that contains this part.
#[track_caller]
fn check(path: &Path, expected: Result<&str, &str>) {
    match (read(path, RULES), expected) {
        (Ok(found), Ok(text)) => assert_eq!(found, text.as_bytes(), "{path:?}"),
        (Err(error), Err(part)) => {
            let error = error.to_string();
            assert!(error.contains(part), "{path:?}: {error}");
        }
        (found, _) => panic!("{path:?}: {found:?}, not {expected:?}"),
    }
}

#[cfg(unix)]
#[test]
fn only_small_private_regular_files_are_read() {
    let scratch = Scratch::new();
    for mode in [0o600, 0o400, 0o640, 0o440] {
        let path = scratch.file(&format!("good{mode:o}"), "text", mode);
        check(&path, Ok("text"));
    }
    for mode in [0o644, 0o660, 0o602, 0o604, 0o620, 0o610, 0o601, 0o777] {
        let path = scratch.file(&format!("bad{mode:o}"), "text", mode);
        check(&path, Err(&format!("mode {mode:03o}")));
    }
    check(
        &scratch.file("full", &"x".repeat(16), 0o600),
        Ok(&"x".repeat(16)),
    );
    check(
        &scratch.file("long", &"x".repeat(17), 0o600),
        Err("longer than 16 bytes"),
    );
    check(&scratch.0, Err("not a regular file"));
    check(&scratch.0.join("nowhere"), Err("No such file"));
    check(Path::new("/dev/zero"), Err("not a regular file"));
    // A blocking open would wait for a writer forever.
    let fifo = scratch.0.join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    check(&fifo, Err("not a regular file"));
}

#[cfg(unix)]
#[test]
fn target_of_a_symbolic_link_is_checked() {
    let scratch = Scratch::new();
    // The links with which Kubernetes mounts a secret.
    let data = scratch.0.join("..2026_11_29");
    fs::create_dir(&data).unwrap();
    let token = data.join("token");
    fs::write(&token, "text").unwrap();
    set_mode(&token, 0o440);
    symlink("..2026_11_29", scratch.0.join("..data")).unwrap();
    symlink("..data/token", scratch.0.join("token")).unwrap();
    check(&scratch.0.join("token"), Ok("text"));
    set_mode(&token, 0o444);
    check(&scratch.0.join("token"), Err("mode 444"));
    symlink("token", scratch.0.join("loop")).unwrap();
    fs::remove_file(scratch.0.join("token")).unwrap();
    symlink("loop", scratch.0.join("token")).unwrap();
    check(&scratch.0.join("token"), Err("symbolic links"));
}

/// Runs only as root, because only root can change the owner of a file.
#[cfg(unix)]
#[test]
fn file_of_another_user_is_rejected() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("token", "text", 0o600);
    chown(&path, Some(12_345), None).unwrap();
    check(&path, Err("belongs to the user 12345"));
    chown(&path, Some(0), Some(12_345)).unwrap();
    check(&path, Ok("text"));
}

#[test]
fn value_is_reloaded_after_a_change_and_after_a_failed_read() {
    let scratch = Scratch::new();
    let path = scratch.file("value", "one", 0o600);
    let text = |path: &Path| fs::read_to_string(path);
    let value = Reloaded::load(vec![path.clone()], || text(&path)).unwrap();
    let read = |outcome: Reload| {
        let mut loads = 0;
        let found = value.with(
            |value| {
                loads += 1;
                if let (Reload::Done, Ok(text)) = (outcome, text(&path)) {
                    *value = text;
                }
                outcome
            },
            String::clone,
        );
        (found, loads)
    };
    value.expire();
    assert_eq!(read(Reload::Done), ("one".to_owned(), 0), "nothing changed");
    fs::write(&path, "three").unwrap();
    assert_eq!(
        read(Reload::Done),
        ("one".to_owned(), 0),
        "checked too often"
    );
    value.expire();
    assert_eq!(read(Reload::Retry), ("one".to_owned(), 1));
    value.expire();
    assert_eq!(read(Reload::Done), ("three".to_owned(), 1), "not retried");
    value.expire();
    assert_eq!(read(Reload::Done), ("three".to_owned(), 0));
    fs::remove_file(&path).unwrap();
    value.expire();
    assert_eq!(read(Reload::Done), ("three".to_owned(), 1), "not detected");
    value.expire();
    assert_eq!(read(Reload::Done), ("three".to_owned(), 0));
    fs::write(&path, "four").unwrap();
    value.expire();
    assert_eq!(read(Reload::Done), ("four".to_owned(), 1), "not noticed");
}

#[test]
fn a_missing_file_is_loaded_again_only_when_it_exists() {
    let scratch = Scratch::new();
    let path = scratch.file("value", "one", 0o600);
    let value = Reloaded::load(vec![path.clone()], || Ok::<_, io::Error>(0)).unwrap();
    let loads = || {
        let load = |loads: &mut u32| {
            *loads += 1;
            match fs::read(&path) {
                Ok(_) => Reload::Done,
                Err(_) => Reload::Retry,
            }
        };
        value.expire();
        value.with(load, |loads| *loads)
    };
    fs::remove_file(&path).unwrap();
    assert_eq!([loads(), loads(), loads()], [1, 1, 1]);
    scratch.file("value", "two", 0o600);
    assert_eq!([loads(), loads()], [2, 2]);
}
