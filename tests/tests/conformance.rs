//! The conformance suite of the OCI distribution specification, as its authors wrote it, with token logins.
//!
//! The suite exits 0 also when its configuration is wrong, so its result file must be there and count at least as many
//! passes as are pinned here, with nothing failed.

use transship_tests::clients::{command, run};
use transship_tests::environment;
use transship_tests::manage::User;
use transship_tests::postgres;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::registry::login_of;

/// What the suite may skip: the mount that names no source, which is never done (H1); the mount that names one, because
/// the suite asks with a token that does not allow pulling there; and what version 1.1 switches off.
const MAY_BE_SKIPPED: [&str; 3] = ["/mount anonymous/", "/mount/", "/post cancel/"];

/// Switches that version 1.1 leaves off and this registry has.
const EVERY_SWITCH: [(&str, &str); 4] = [
    ("OCI_API_BLOBS_UPLOAD_CANCEL", "true"),
    ("OCI_API_BLOBS_DIGEST_HEADER", "true"),
    ("OCI_API_MANIFESTS_DIGEST_HEADER", "true"),
    ("OCI_API_MANIFESTS_TAG_PARAM", "true"),
];

async fn region(settings: RegionSettings) -> (Region, User) {
    let admin = User::named("admin");
    let mut region = Region::prepare(settings, &admin).await;
    region.start().await;
    region.manage(&admin).create_namespace("conformance").await;
    (region, admin)
}

/// Runs the suite and holds its result against what is pinned.
async fn conforms(settings: RegionSettings, version: &str, switches: &[(&str, &str)], pinned: u64) {
    let (region, admin) = region(settings).await;
    let results = tempfile::tempdir().expect("a temporary folder can be made");
    let (user, password) = login_of(region.id(), &admin);
    let mut suite = command(environment::prepared("tools/bin/conformance", "conformance"), &[]);
    suite.envs([
        ("OCI_CONFIGURATION", "/dev/null"),
        ("OCI_VERSION", version),
        ("OCI_REGISTRY", &region.host()),
        ("OCI_TLS", "disabled"),
        ("OCI_REPO1", "conformance/repo1"),
        ("OCI_REPO2", "conformance/repo2"),
        ("OCI_USERNAME", &user),
        ("OCI_PASSWORD", &password),
        ("OCI_RESULTS_DIR", results.path().to_str().expect("temporary folders have plain names")),
        ("OCI_LOG", "warn"),
    ]);
    suite.envs(switches.iter().copied());
    let said = run(suite).await;
    let report = std::fs::read_to_string(results.path().join("junit.xml")).expect("the suite wrote its results");
    let head = report.lines().next().unwrap_or_default();
    let failures: Vec<&str> = said.out.lines().filter(|line| line.contains(": Fail")).collect();
    assert!(failures.is_empty(), "{head}\n{}", failures.join("\n"));
    for skipped in report.lines().filter(|line| line.contains(" status=\"skipped\"")) {
        assert!(MAY_BE_SKIPPED.iter().any(|name| skipped.contains(name)), "{skipped}");
    }
    let tests = attribute(&report, "tests");
    assert!(tests >= pinned, "{tests} passed, {pinned} are pinned: {head}");
}

/// The number of an attribute of the report's first element.
fn attribute(report: &str, name: &str) -> u64 {
    let text = report.split_once(&format!(" {name}=\"")).expect("the report counts its tests").1;
    text.split('"').next().and_then(|number| number.parse().ok()).expect("the count is a number")
}

#[tokio::test]
async fn version_1_1() {
    conforms(RegionSettings::named("cn-north-4"), "1.1", &[], 854).await;
}

#[tokio::test]
async fn everything_of_the_coming_version() {
    conforms(RegionSettings::named("cn-north-4"), "dev", &EVERY_SWITCH, 978).await;
}

#[tokio::test]
async fn everything_of_the_coming_version_on_postgresql() {
    let mut settings = RegionSettings::named("cn-north-4");
    settings.catalog_url = Some(postgres::fresh_database().await);
    conforms(settings, "dev", &EVERY_SWITCH, 978).await;
}
