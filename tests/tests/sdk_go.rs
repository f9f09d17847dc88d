//! The printed Go sample, through the real SDK, with nothing changed but namespace, repository and the import of `os`.
//! This SDK insists on TLS for the IAM service, so the source region listens with a certificate of the test's own.

use transship_tests::sample::Stage;
use transship_tests::{clients, environment};

#[tokio::test]
async fn the_printed_sample_copies_the_image() {
    let stage = Stage::set().await;
    let (iam, authority) = stage.pair.source.tls();
    let mut sample = clients::command(environment::prepared("samples/go/sample", "sdk-go"), &[]);
    sample.env("SSL_CERT_FILE", authority);
    let printed = stage.run(sample, &iam).await;
    assert_eq!(printed, "CreateManualImageSyncRepoResponse {\"body\":[]}");
    stage.check().await;
}
