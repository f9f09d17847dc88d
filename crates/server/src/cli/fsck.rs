//! `transship fsck`: checks that everything the region knows exists and is right.
//!
//! Owns: arguments, output and exit codes. Never: what is checked.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use transship_registry::{Finding, FsckOptions, FsckReport, Keys};

use super::{complain, open, print, runtime};
use crate::config::Config;

/// Exit code if something is wrong, repaired or not.
const EXIT_PROBLEMS: u8 = 1;
/// Exit code if the check could not be done.
const EXIT_NOT_CHECKED: u8 = 2;

/// `transship fsck`.
#[derive(Debug, Args)]
pub(super) struct Fsck {
    /// Compare sizes only, and read no blob
    #[arg(long)]
    quick: bool,
    /// Quarantine wrong bytes, delete bytes that no row names, correct counters; nothing else is changed
    #[arg(long)]
    repair: bool,
    /// Read no more than this; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    bytes_per_second: u64,
    /// Print one JSON object for each finding, and one with the counts at the end
    #[arg(long)]
    json: bool,
}

/// Runs the check.
pub(super) fn run(config: &Config, arguments: &Fsck) -> ExitCode {
    match runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(check(config, arguments))) {
        Ok(report) if report.problems == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_PROBLEMS),
        Err(error) => {
            complain(&format!("transship: the region could not be checked: {error:#}"));
            ExitCode::from(EXIT_NOT_CHECKED)
        }
    }
}

async fn check(config: &Config, arguments: &Fsck) -> anyhow::Result<FsckReport> {
    let catalog = config.catalog_is_embedded().then_some("catalog.db");
    let files = Keys::FILES.into_iter().chain(catalog).map(|file| config.data_dir.join(file));
    for path in [config.data_dir.clone(), open::blobs(config)].into_iter().chain(files) {
        let data_dir = config.data_dir.display();
        anyhow::ensure!(path.exists(), "there is no region in {data_dir}: {} is missing", path.display());
    }
    let registry = open::unchanged_region(config).await?;
    let Fsck { quick, repair, bytes_per_second, json } = *arguments;
    let mut printed = Ok(());
    let tell = |finding: &Finding| {
        if printed.is_ok() {
            printed = print(&if json { serde_json::to_string(finding).unwrap_or_default() } else { line(finding) });
        }
    };
    let report = registry.upkeep().fsck(FsckOptions { quick, repair, bytes_per_second }, tell).await?;
    printed.context("cannot print")?;
    if json {
        print(&serde_json::to_string(&report)?)?;
    } else {
        print(&summary(&report))?;
    }
    Ok(report)
}

fn line(finding: &Finding) -> String {
    let problem = serde_json::to_value(finding.problem).ok();
    let problem = problem.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let repaired = if finding.repaired { " (repaired)" } else { "" };
    format!("{problem:<17} {}: {}{repaired}", finding.subject, finding.detail)
}

fn summary(report: &FsckReport) -> String {
    let FsckReport { blobs, blob_bytes, locations, manifests, namespaces, problems, notes, repaired } = report;
    format!(
        "{blobs} blobs with {blob_bytes} bytes, {locations} locations, {manifests} manifests, {namespaces} organizations: \
         {problems} problems, {repaired} repaired, {notes} notes"
    )
}
