//! `transship serve`: from the configuration to a running region, and down again.
//!
//! Owns: the order of start and stop. Never: what happens in between.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use transship_registry::Registry;

use super::{credentials, limits, open, print};
use crate::app::App;
use crate::config::Config;
use crate::http::server::{ConnectionLimits, Listener, Server};
use crate::http::tls_reload::Reloader;

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
    let certificates = match (config.listen_tls, &config.tls) {
        (Some(address), Some(files)) => {
            let (reloader, receiver) = Reloader::start(files.clone())?;
            let listener = Listener::tls(address, receiver).await;
            let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
            tracing::info!(listen_tls = %listener.local_addr()?, "TLS");
            listeners.push(listener);
            Some(reloader)
        }
        _ => None,
    };

    let registry = open::region(&config, listen).await?;
    bootstrap(&config, &registry).await?;

    let app = App::new(registry.clone(), config.replication.sync_images_response);
    let stop = CancellationToken::new();
    let mut workers = registry.start_workers(stop.clone()).await?;
    // The first hang-up after the start is meant already, and one without TLS must not end the process.
    let reload = signals.reload(certificates);
    let server = Server::start(app.clone(), listeners, connection_limits(&config));
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
    reload.abort();
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

fn connection_limits(config: &Config) -> ConnectionLimits {
    ConnectionLimits {
        all: limits::connections(config.limits.connections),
        of_one_address: config.limits.connections_per_address,
        proxies: config.limits.trusted_proxies.clone(),
    }
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

/// The signals that the process knows.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: Some(signal(SignalKind::hangup())?),
        })
    }

    /// Waits for one that ends the process.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Renews the certificate from its files by itself, and at once at each SIGHUP.
    fn reload(&mut self, certificates: Option<Reloader>) -> AbortHandle {
        let mut hang_up = self.hang_up.take();
        let now = Arc::new(Notify::new());
        let told = Arc::clone(&now);
        let listen = async move {
            while let Some(signal) = &mut hang_up {
                signal.recv().await;
                told.notify_one();
            }
        };
        let work = async move {
            match certificates {
                Some(reloader) => tokio::join!(listen, reloader.run(now)).0,
                None => listen.await,
            }
        };
        tokio::spawn(work).abort_handle()
    }
}
