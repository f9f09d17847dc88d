//! The conformance suite of the OCI distribution specification, as its authors wrote it, with token logins.
//!
//! The suite exits 0 also when its configuration is wrong, so the table that it prints at its end must be there and count
//! at least as many passes as are pinned here, with nothing failed. Its result files are not looked at: in read-only mode
//! it crashes where it writes them.

use transship_tests::clients::{command, run};
use transship_tests::environment;
use transship_tests::image::Image;
use transship_tests::manage::User;
use transship_tests::postgres;
use transship_tests::random::Random;
use transship_tests::region::{Region, RegionSettings};
use transship_tests::registry::login_of;

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

/// Runs the suite in a region and holds its result against what is pinned.
async fn conforms_in(region: &Region, admin: &User, version: &str, switches: &[(&str, &str)], pinned: u64) {
    let results = tempfile::tempdir().expect("a temporary folder can be made");
    let (user, password) = login_of(region.id(), admin);
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
    let lines = |status: &str| said.out.lines().filter(|line| line.ends_with(status)).collect::<Vec<_>>();
    assert_eq!(lines(": FAIL"), [""; 0], "{}", said.out);
    assert_eq!((count(&said.out, "FAIL"), count(&said.out, "Error")), (0, 0), "{}", said.out);
    // The mount that names no source is never done (H1): one test for each digest algorithm.
    assert!(lines(": Skip").iter().all(|line| line.contains("/mount anonymous")), "{:?}", lines(": Skip"));
    assert!(count(&said.out, "Skip") <= 2, "{}", said.out);
    let passed = count(&said.out, "Pass");
    assert!(passed >= pinned, "{passed} passed, {pinned} are pinned:\n{}", said.out);
}

/// A number of the table that the suite prints at its end: `Pass....:  980`.
fn count(said: &str, name: &str) -> u64 {
    let line = said.lines().rev().find_map(|line| line.trim_start().strip_prefix(&format!("{name}..")));
    let line = line.unwrap_or_else(|| panic!("the suite counts no {name}:\n{said}"));
    line.trim_start_matches(['.', ':', ' ']).parse().expect("a count is a number")
}

async fn conforms(settings: RegionSettings, version: &str, switches: &[(&str, &str)], pinned: u64) {
    let (region, admin) = region(settings).await;
    conforms_in(&region, &admin, version, switches, pinned).await;
}

#[tokio::test]
async fn version_1_1() {
    conforms(RegionSettings::named("cn-north-4"), "1.1", &[], 854).await;
}

#[tokio::test]
async fn version_1_1_with_every_switch() {
    conforms(RegionSettings::named("cn-north-4"), "1.1", &EVERY_SWITCH, 980).await;
}

#[tokio::test]
async fn everything_of_the_coming_version() {
    conforms(RegionSettings::named("cn-north-4"), "dev", &EVERY_SWITCH, 980).await;
}

#[tokio::test]
async fn everything_of_the_coming_version_on_postgresql() {
    let mut settings = RegionSettings::named("cn-north-4");
    settings.catalog_url = Some(postgres::fresh_database().await);
    conforms(settings, "dev", &EVERY_SWITCH, 980).await;
}

/// Manifests that name what was never pushed, where the operator allows them.
#[tokio::test]
async fn sparse_manifests() {
    let mut settings = RegionSettings::named("cn-north-4");
    settings.sections.push("[registry]\nsparse_indexes = true".to_owned());
    let switches = [&EVERY_SWITCH[..], &[("OCI_DATA_SPARSE", "true")]].concat();
    conforms(settings, "dev", &switches, 1026).await;
}

/// What a region holds already, read by a suite that pushes and deletes nothing.
#[tokio::test]
async fn read_only() {
    let (region, admin) = region(RegionSettings::named("cn-north-4")).await;
    let mut random = Random::seeded(1);
    let image = Image::random(&mut random, 2, 1000);
    let index = Image::index(vec![image.clone(), Image::random(&mut random, 1, 1000)]);
    let signature = Image::signature_of(&index, b"signed");
    let repository = region.registry(&admin).open("conformance/repo1", "pull,push").await;
    repository.push("v1", &image).await;
    repository.push("multi", &index).await;
    repository.push(&signature.digest(), &signature).await;
    let joined = |words: Vec<String>| words.join(" ");
    let blobs = joined(image.blobs.iter().map(|blob| transship_tests::image::digest(blob)).collect());
    let manifests = joined(vec![image.digest(), index.digest(), signature.digest()]);
    let subject = index.digest();
    let data = [
        ("OCI_API_PUSH", "false"),
        ("OCI_API_BLOBS_DELETE", "false"),
        ("OCI_API_MANIFESTS_DELETE", "false"),
        ("OCI_API_TAGS_DELETE", "false"),
        ("OCI_RO_DATA_TAGS", "v1 multi"),
        ("OCI_RO_DATA_MANIFESTS", &manifests),
        ("OCI_RO_DATA_BLOBS", &blobs),
        ("OCI_RO_DATA_REFERRERS", &subject),
    ];
    conforms_in(&region, &admin, "1.1", &data, 20).await;
}
