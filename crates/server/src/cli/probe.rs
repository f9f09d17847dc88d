//! `transship check-config --probe`: checks that everything the file names exists, fits together and answers.
//!
//! Owns: what is checked, and the lines about it. Changes nothing: creates neither directory nor tables.

use std::path::Path;
use std::time::Duration;

use transship_catalog::{Catalog, CatalogError};
use transship_registry::{FoundKeys, Keys, check_peers};

use super::{open, print};
use crate::config::{Config, PeerConfig};

/// Time limit for a peer's answer; a slower peer counts as unreachable.
const PEER_LIMIT: Duration = Duration::from_secs(10);

/// Checks everything and prints a line about each.
pub(super) async fn run(config: &Config) -> anyhow::Result<()> {
    let mut found = vec![data_dir(config)];
    let (line, catalog) = self::catalog(config).await;
    found.push(line);
    let own_key = keys(config, catalog.as_ref()).await;
    found.push(own_key.as_ref().map(|(line, _)| line.clone()).map_err(Clone::clone));
    if let Some(catalog) = catalog {
        catalog.close().await;
    }
    let own_key = own_key.ok().and_then(|(_, key)| key);
    if let Err(reason) = check_peers(&config.settings(config.listen).peers, own_key.as_deref()) {
        found.push(Err(reason));
    }
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
    Ok(line("good"))
}

/// Whether a file can be created in a directory; tries it, since modes alone do not tell.
fn is_writable(directory: &Path) -> bool {
    let path = directory.join(format!(".transship-probe-{}", std::process::id()));
    let made = std::fs::File::options().write(true).create_new(true).open(&path).is_ok();
    made && std::fs::remove_file(&path).is_ok()
}

/// Returns a line about the catalog, and the catalog itself if keys can be compared with it.
async fn catalog(config: &Config) -> (Result<String, String>, Option<Catalog>) {
    let file = config.data_dir.join("catalog.db");
    if config.catalog_is_embedded() && !file.exists() {
        return (Ok(format!("catalog {}: is not there yet; the first start makes it", file.display())), None);
    }
    let name =
        if config.catalog_is_embedded() { format!("catalog {}", file.display()) } else { "catalog.url".to_owned() };
    let catalog = match Catalog::open_to_look(&config.catalog_url()).await {
        Ok(catalog) => catalog,
        Err(error) => return (Err(format!("{name}: {error}")), None),
    };
    let line = match catalog.schema_versions().await {
        Ok((None, _)) => Ok(format!("{name}: answers, and has no tables yet; the first start makes them")),
        Ok((Some(found), known)) if found == known => {
            return (Ok(format!("{name}: answers, with schema {found}")), Some(catalog));
        }
        Ok((Some(found), known)) if found < known => {
            let line = format!("{name}: answers, with schema {found}; the next start brings it to {known}");
            return (Ok(line), Some(catalog));
        }
        Ok((Some(found), known)) => Err(format!("{name}: {}", CatalogError::NewerSchema { found, known })),
        Err(error) => Err(format!("{name}: {error}")),
    };
    catalog.close().await;
    (line, None)
}

/// Returns a line about the key files, judged as the start judges them, and the public key of the region if it has one.
async fn keys(config: &Config, catalog: Option<&Catalog>) -> Result<(String, Option<String>), String> {
    let found = match catalog {
        Some(catalog) => Keys::compare(&config.data_dir, catalog).await,
        None => Keys::look(&config.data_dir),
    };
    let FoundKeys { missing, region_public_key } = found.map_err(|error| error.to_string())?;
    let line = match (missing.is_empty(), catalog) {
        (false, _) => format!("keys: {} not there yet; the first start makes what is missing", missing.join(" and ")),
        (true, Some(_)) => "keys: good, those of the catalog".to_owned(),
        (true, None) => "keys: can be used; there is no catalog to compare them with".to_owned(),
    };
    Ok((line, region_public_key))
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
