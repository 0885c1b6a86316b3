//! The example projects of `docs/examples`, in front of the demo that `deploy/ci/start` starts.

use tokio::process::Command;

use crate::support::passes;

#[tokio::test]
async fn every_example_works_in_front_of_the_demo() {
    let mut script = Command::new("tests/examples");
    script.kill_on_drop(true);
    passes(script, &[env!("CARGO_BIN_EXE_countersign")], 6).await;
}
