//! The printed Python sample, through the real SDK, with nothing changed but namespace, repository and `import os`.

use transship_tests::sample::Stage;
use transship_tests::{clients, environment};

#[tokio::test]
async fn the_printed_sample_copies_the_image() {
    let stage = Stage::set().await;
    let python = environment::prepared("venv/bin/python", "sdk-python");
    let mut sample = clients::command(python, &[]);
    sample.arg(environment::root().join("demo/sample.py"));
    let printed = stage.run(sample, &stage.pair.source.url()).await;
    // The SDK shows an empty list as an empty object.
    assert_eq!(printed, "{}");
    stage.check().await;
}
