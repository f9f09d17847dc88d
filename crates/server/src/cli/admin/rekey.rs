//! `transship admin rekey`: replaces `secrets.key` or `region.key`, also if the old one is lost.

use clap::Args;
use serde_json::json;
use transship_registry::{Keys, NewKey};

use super::super::open;
use super::Output;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Rekey {
    /// secrets.key is lost: make a new one without the old; every access key then needs a new secret key
    #[arg(long, conflicts_with = "region")]
    lost: bool,
    /// Replace region.key instead of secrets.key; every peer must pin the new public key
    #[arg(long)]
    region: bool,
    /// Only make the next region.key and print its public key, so that peers can pin it before it is used
    #[arg(long, requires = "region")]
    prepare: bool,
}

pub(super) async fn run(config: &Config, output: Output, arguments: Rekey) -> anyhow::Result<()> {
    let data_dir = &config.data_dir;
    if arguments.prepare {
        open::check_data_dir(config)?;
        let row = json!({ "file": "region.key.next", "public_key": Keys::prepare_region_key(data_dir)? });
        return output.one(&["file", "public_key"], row);
    }
    open::check_data_dir(config)?;
    // A running process keeps the keys that it has read. With an embedded catalog, no process serves while this lock is
    // held; with a catalog elsewhere, a serving process notices within seconds, and ends.
    let _lock = if config.catalog_is_embedded() { Some(open::lock(data_dir)?) } else { None };
    let catalog = open::unchanged_catalog(config).await?;
    if arguments.region {
        let public_key = Keys::replace_region_key(data_dir, &catalog).await?;
        return output.one(&["file", "public_key"], json!({ "file": "region.key", "public_key": public_key }));
    }
    let how = if arguments.lost { NewKey::WithoutOld } else { NewKey::FromOld };
    let done = Keys::replace_secrets_key(data_dir, &catalog, how).await?;
    let row = json!({
        "file": "secrets.key",
        "sealed_again": done.sealed,
        "switched_off": done.disabled,
        "deleted": done.deleted,
    });
    output.one(&["file", "sealed_again", "switched_off", "deleted"], row)
}
