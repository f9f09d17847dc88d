//! `transship serve`: from the configuration to a running region, and down again.
//!
//! Owns: the order of start and stop. Never: what happens in between.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use transship_registry::Registry;

use super::{credentials, limits, open, print};
use crate::app::App;
use crate::config::Config;
use crate::http::server::{Listener, Server};
use crate::http::tls;

/// How long requests in flight may go on after a signal.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs the region until a signal ends it.
pub(super) async fn serve(mut config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // Error messages and the catalog's URL must not depend on a directory that somebody may change.
    config.data_dir = std::path::absolute(&config.data_dir)?;
    open::prepare_data_dir(&config.data_dir)?;
    let _lock = if config.catalog_is_embedded() { Some(open::lock(&config.data_dir)?) } else { None };

    let plain = Listener::plain(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let listen = plain.local_addr()?;
    let mut listeners = vec![plain];
    // The sender stays here: sending a new configuration through it is how certificates will be reloaded.
    let _certificates = match (config.listen_tls, &config.tls) {
        (Some(address), Some(files)) => {
            let (sender, receiver) = watch::channel(tls::server_config(files)?);
            let listener = Listener::tls(address, receiver).await;
            let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
            tracing::info!(listen_tls = %listener.local_addr()?, "TLS");
            listeners.push(listener);
            Some(sender)
        }
        _ => None,
    };

    let registry = open::region(&config, listen).await?;
    bootstrap(&config, &registry).await?;

    let app = App::new(registry.clone(), config.replication.sync_images_response);
    let stop = CancellationToken::new();
    let mut workers = registry.start_workers(stop.clone()).await?;
    let server = Server::start(app.clone(), listeners, limits::connections(config.limits.connections));
    tracing::info!(
        region = registry.settings().region.as_str(),
        %listen,
        public_url = registry.settings().public_url,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );

    let failed = tokio::select! {
        name = signals.next() => { tracing::info!(signal = name, "draining"); false }
        _ = &mut workers => { tracing::error!("the workers ended by themselves; stopping"); true }
    };
    // Not ready first, so that nothing new is sent here; then no new job, and leases go back.
    app.start_draining();
    stop.cancel();
    let down = async {
        let workers = async {
            if !failed && tokio::time::timeout(DRAIN, workers).await.is_err() {
                tracing::warn!("the workers did not end in time; their leases will run out");
            }
        };
        tokio::join!(server.drain(DRAIN), workers);
    };
    tokio::select! {
        () = down => tracing::info!("stopped"),
        name = signals.next() => tracing::warn!(signal = name, "stopped at once, at the second signal"),
    }
    anyhow::ensure!(!failed, "the workers ended by themselves");
    Ok(())
}

/// Makes the first account while the catalog has none.
async fn bootstrap(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    match &config.bootstrap {
        Some(bootstrap) => {
            if registry.bootstrap(bootstrap.to_bootstrap()).await? {
                tracing::info!(account = bootstrap.account, user = bootstrap.user, "made the first account");
            }
        }
        None if config.file.is_none() => {
            if let Some(path) = credentials::bootstrap(registry, &config.data_dir).await? {
                print(&format!("the credentials of the first user are in {}", path.display()))?;
            }
        }
        None => {
            if registry.list_accounts().await?.is_empty() {
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
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
