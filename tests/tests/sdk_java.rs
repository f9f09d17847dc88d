//! The printed Java sample, through the real SDK, with nothing changed but namespace and repository.

use transship_tests::sample::Stage;
use transship_tests::{clients, environment};

#[tokio::test]
async fn the_printed_sample_copies_the_image() {
    let stage = Stage::set().await;
    let classes = environment::prepared("samples/java/classes", "sdk-java");
    let jars = environment::prepared("samples/java/lib", "sdk-java");
    let path = format!("{}:{}/*", classes.display(), jars.display());
    let sample =
        clients::command("java", &["-cp", &path, "com.huaweicloud.sdk.test.CreateManualImageSyncRepoSolution"]);
    let printed = stage.run(sample, &stage.pair.source.url()).await;
    assert!(printed.contains("CreateManualImageSyncRepoResponse"), "{printed}");
    assert!(!printed.contains("Exception"), "{printed}");
    stage.check().await;
}
