//! `transship serve`: from the configuration to a running region, and back down.
//!
//! Owns: the order of start and stop. Never: what happens in between.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use transship_registry::Registry;

use super::logging::LogControl;
use super::reload::Reload;
use super::{credentials, limits, open, print};
use crate::app::App;
use crate::config::Config;
use crate::http::server::{Listener, Server};
use crate::http::tls_reload::Reloader;

/// How long requests in flight may go on after a signal.
const DRAIN: Duration = Duration::from_secs(30);
/// Interval between checks whether the keys have been replaced; tokens of the old key end as soon. A check is two small
/// queries.
const LOOK_AT_KEYS: Duration = Duration::from_secs(10);

/// Runs the region until a signal ends it.
pub(super) async fn serve(mut config: Config, log: &LogControl) -> anyhow::Result<()> {
    let (mut signals, mut hang_up) = Signals::new()?;
    // Error messages and the catalog's URL must not depend on the working directory, which somebody may change.
    config.data_dir = std::path::absolute(&config.data_dir)?;
    open::prepare_data_dir(&config)?;
    let _lock = if config.catalog_is_embedded() { Some(open::lock(&config.data_dir)?) } else { None };

    let plain = Listener::plain(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let listen = plain.local_addr()?;
    let mut listeners = vec![plain];
    let certificates = match (config.listen_tls, &config.tls) {
        (Some(address), Some(files)) => {
            let (reloader, receiver) = Reloader::start(files.clone())?;
            let listener = Listener::tls(address, receiver).await;
            let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
            tracing::info!(listen_tls = %listener.local_addr()?, "TLS");
            listeners.push(listener);
            let (sender, asked) = mpsc::unbounded_channel();
            Some((sender, tokio::spawn(reloader.run(asked)).abort_handle()))
        }
        _ => None,
    };

    let registry = open::region(&config, listen).await?;
    bootstrap(&config, &registry).await?;

    let app = App::new(registry.clone(), config.replication.sync_images_response);
    let stop = CancellationToken::new();
    let mut workers = registry.start_workers(stop.clone()).await?;
    let server = Server::start(app.clone(), listeners, limits::of_connections(&config));
    tracing::info!(
        region = registry.settings().region.as_str(),
        %listen,
        public_url = registry.settings().public_url,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    let mut reload = Reload {
        config,
        registry: &registry,
        server: &server,
        log,
        certificates: certificates.as_ref().map(|(sender, _)| sender.clone()),
    };
    let end = loop {
        tokio::select! {
            name = signals.next() => { tracing::info!(signal = name, "draining"); break End::Told; }
            _ = &mut workers => { tracing::error!("the workers ended by themselves; stopping"); break End::WorkersEnded; }
            file = key_replaced(&registry) => {
                tracing::error!(file, "this key was replaced in the catalog; stopping, so that nothing is done with the old one");
                break End::KeyReplaced(file);
            }
            // Handled from the start, so that the first one is not lost.
            _ = hang_up.recv() => reload.run(),
        }
    };
    if let Some((_, reloader)) = certificates {
        reloader.abort();
    }
    // First the process becomes not ready, so that no new requests are sent here. Then it starts no job, and gives
    // leases back.
    app.start_draining();
    stop.cancel();
    let down = async {
        let workers = async {
            if !matches!(end, End::WorkersEnded) && tokio::time::timeout(DRAIN, workers).await.is_err() {
                tracing::warn!("the workers did not end in time; their leases will run out");
            }
        };
        tokio::join!(server.drain(DRAIN), workers);
    };
    tokio::select! {
        () = down => tracing::info!("stopped"),
        name = signals.next() => tracing::warn!(signal = name, "stopped at once, at the second signal"),
    }
    match end {
        End::Told => Ok(()),
        End::WorkersEnded => bail!("the workers ended by themselves"),
        End::KeyReplaced(file) => bail!("{file} was replaced while this process ran; start it with the new file"),
    }
}

/// Why a process stops serving.
enum End {
    Told,
    WorkersEnded,
    KeyReplaced(&'static str),
}

/// Returns the name of a key's file once that key has been replaced. Only a catalog that other machines reach can show
/// that: with an embedded one, `rekey` is refused while a process serves.
async fn key_replaced(registry: &Registry) -> &'static str {
    loop {
        tokio::time::sleep(LOOK_AT_KEYS).await;
        // Other code reports whether the catalog answers at all.
        if let Ok(Some(file)) = registry.identity().replaced_key().await {
            return file;
        }
    }
}

/// Creates the first account if the catalog has none.
async fn bootstrap(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    match &config.bootstrap {
        Some(bootstrap) => {
            if registry.identity().bootstrap(bootstrap.to_bootstrap()).await? {
                tracing::info!(account = bootstrap.account, user = bootstrap.user, "made the first account");
            }
        }
        None if config.file.is_none() => {
            let file = credentials::bootstrap(registry, &config.data_dir).await?;
            print(&credentials::first_steps(file.as_deref(), &registry.settings().registry_host))?;
        }
        None => {
            if registry.identity().list_accounts().await?.is_empty() {
                tracing::warn!("there is no account yet: use `transship admin`, or [bootstrap]");
            }
        }
    }
    Ok(())
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// These signals, and SIGHUP. From now on none of them ends the process by itself.
    fn new() -> std::io::Result<(Self, Signal)> {
        let ending = Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok((ending, signal(SignalKind::hangup())?))
    }

    /// Waits for a signal that ends the process.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
