//! Files of one test.

use std::path::{Path, PathBuf};

/// A temporary directory of one test, removed when the test ends.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        Self::new_in(&std::env::temp_dir(), name)
    }

    /// An empty directory below another one. A test that was killed leaves its directory behind, so
    /// the name must be one that no earlier test can have had.
    pub fn new_in(parent: &Path, name: &str) -> Self {
        let prefix = format!("countersign-{name}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        Self(directory.unwrap().keep())
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
