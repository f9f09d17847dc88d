//! The printed Java sample, through the real SDK, with nothing changed but namespace and repository; and the fields that the
//! SDK fills from headers, which it looks up by exact case.

use tokio::process::Command;
use transship_tests::sample::Stage;
use transship_tests::{clients, environment};

/// A class of the samples, with options for the machine that runs it.
fn java(options: &[&str], class: &str) -> Command {
    let classes = environment::prepared("samples/java/classes", "sdk-java");
    let jars = environment::prepared("samples/java/lib", "sdk-java");
    let path = format!("{}:{}/*", classes.display(), jars.display());
    let mut command = clients::command("java", options);
    command.args(["-cp", &path, &format!("com.huaweicloud.sdk.test.{class}")]);
    command
}

#[tokio::test]
async fn the_printed_sample_copies_the_image() {
    let stage = Stage::set().await;
    let sample = java(&[], "CreateManualImageSyncRepoSolution");
    let printed = stage.run(sample, &stage.pair.source.url()).await;
    assert!(printed.contains("CreateManualImageSyncRepoResponse"), "{printed}");
    assert!(!printed.contains("Exception"), "{printed}");
    stage.check().await;
}

#[tokio::test]
async fn fields_from_headers_are_filled_plain_and_over_tls() {
    let stage = Stage::set().await;
    let (tls, authority) = stage.pair.source.tls();
    let store = authority.with_extension("p12").display().to_string();
    let mut import = clients::command("keytool", &["-importcert", "-noprompt", "-storetype", "PKCS12"]);
    import.args(["-keystore", &store, "-storepass", "changeit", "-file"]).arg(authority);
    clients::must(import).await;
    let trust = format!("-Djavax.net.ssl.trustStore={store}");
    let trust = [trust.as_str(), "-Djavax.net.ssl.trustStorePassword=changeit"];
    let region = stage.pair.source.id();
    for (url, options) in [(stage.pair.source.url(), &[][..]), (tls, &trust[..])] {
        let printed = stage.run_at(java(options, "HeaderFields"), &url, &url).await;
        assert!(printed.contains(&format!("X-Swr-Dockerlogin: docker login -u {region}@")), "{url}: {printed}");
        assert!(printed.contains("ListReposDetails: 0-1/1"), "{url}: {printed}");
        assert!(printed.contains("ListRepositoryTags: 0-1/1"), "{url}: {printed}");
    }
}
