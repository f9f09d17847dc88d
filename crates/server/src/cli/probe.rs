//! `transship check-config --probe`: whether what the file names is there and answers.
//!
//! Owns: what is looked at and the lines about it. Changes nothing: neither directory nor tables are made.

use std::path::Path;
use std::time::Duration;

use transship_catalog::{Catalog, CatalogError};
use transship_registry::Keys;

use super::{open, print};
use crate::config::{Config, PeerConfig};

/// A peer that does not answer in this time is not to be reached.
const PEER_LIMIT: Duration = Duration::from_secs(10);

/// Looks at everything and prints a line about each.
pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut found = vec![data_dir(config), catalog(config).await];
    for peer in &config.peers {
        found.push(self::peer(peer).await);
    }
    let mut bad = 0;
    for line in found {
        match line {
            Ok(line) => print(&line)?,
            Err(line) => {
                bad += 1;
                print(&format!("{line} (not good)"))?;
            }
        }
    }
    anyhow::ensure!(bad == 0, "{bad} of what the file names cannot be used");
    Ok(())
}

fn data_dir(config: &Config) -> Result<String, String> {
    let path = &config.data_dir;
    let line = |text: &str| format!("data_dir {}: {text}", path.display());
    if !path.exists() {
        let above = path.ancestors().find(|above| above.exists());
        let above = above.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return if is_writable(above) {
            Ok(line("is not there yet; the first start makes it"))
        } else {
            Err(line(&format!("is not there, and cannot be made in {}", above.display())))
        };
    }
    open::check_data_dir(config).map_err(|error| format!("{error:#}"))?;
    if !is_writable(path) {
        return Err(line("cannot be written to"));
    }
    let missing: Vec<&str> = Keys::FILES.into_iter().filter(|file| !path.join(file).exists()).collect();
    Ok(line(&if missing.is_empty() {
        "good, with the keys of the region".to_owned()
    } else {
        format!("good, without {}", missing.join(" and "))
    }))
}

/// Whether a file can be made in a directory; tried, since modes alone do not tell.
fn is_writable(directory: &Path) -> bool {
    let path = directory.join(format!(".transship-probe-{}", std::process::id()));
    let made = std::fs::File::options().write(true).create_new(true).open(&path).is_ok();
    made && std::fs::remove_file(&path).is_ok()
}

async fn catalog(config: &Config) -> Result<String, String> {
    let file = config.data_dir.join("catalog.db");
    if config.catalog_is_embedded() && !file.exists() {
        return Ok(format!("catalog {}: is not there yet; the first start makes it", file.display()));
    }
    let name =
        if config.catalog_is_embedded() { format!("catalog {}", file.display()) } else { "catalog.url".to_owned() };
    match Catalog::schema_at(&config.catalog_url()).await {
        Ok((None, _)) => Ok(format!("{name}: answers, and has no tables yet; the first start makes them")),
        Ok((Some(found), known)) if found == known => Ok(format!("{name}: answers, with schema {found}")),
        Ok((Some(found), known)) if found < known => {
            Ok(format!("{name}: answers, with schema {found}; the next start brings it to {known}"))
        }
        Ok((Some(found), known)) => Err(format!("{name}: {}", CatalogError::NewerSchema { found, known })),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

async fn peer(peer: &PeerConfig) -> Result<String, String> {
    let name = format!("peer {} at {}", peer.id, peer.url);
    let asked = transship_registry::peer_answers(&peer.url, peer.ca_pem.as_deref());
    match tokio::time::timeout(PEER_LIMIT, asked).await {
        Ok(Ok(())) => Ok(format!("{name}: answers")),
        Ok(Err(reason)) => Err(format!("{name}: {reason}")),
        Err(_) => Err(format!("{name}: no answer within {} s", PEER_LIMIT.as_secs())),
    }
}
