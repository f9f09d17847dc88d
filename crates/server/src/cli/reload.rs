//! SIGHUP: reads the file again, and changes what can change without a restart.
//!
//! Owns: what a hang-up does, and what the log says about it. Never: which settings can change (see `config::Change`).

use std::path::Path;

use tokio::sync::mpsc::UnboundedSender;
use transship_registry::Registry;

use super::limits;
use super::logging::LogControl;
use crate::config::{self, Config, TlsFiles};
use crate::http::server::Server;

/// The parts of a running process that can change, and its configuration.
pub(super) struct Reload<'a> {
    /// The configuration in force.
    pub(super) config: Config,
    pub(super) registry: &'a Registry,
    pub(super) server: &'a Server,
    pub(super) log: &'a LogControl,
    /// Asks for these certificate files to be read.
    pub(super) certificates: Option<UnboundedSender<TlsFiles>>,
}

impl Reload<'_> {
    /// Reads the file again; an invalid one changes nothing.
    pub(super) fn run(&mut self) {
        if let Some(file) = self.config.file.clone() {
            self.take_over(&file);
        } else {
            tracing::info!(
                "SIGHUP: this process was started without a configuration file, so there is none to read again"
            );
        }
        if let (Some(sender), Some(files)) = (&self.certificates, &self.config.tls) {
            // The receiver lives as long as the process serves.
            let _ = sender.send(files.clone());
        }
    }

    fn take_over(&mut self, file: &Path) {
        let shown = file.display();
        let mut new = match config::load_again(file) {
            Ok(new) => new,
            Err(error) => {
                for problem in &error.problems {
                    let reason = problem.to_string();
                    tracing::error!(file = %shown, reason, "the configuration cannot be used, the old settings stay");
                }
                return;
            }
        };
        if let Ok(data_dir) = std::path::absolute(&new.data_dir) {
            new.data_dir = data_dir;
        }
        let change = self.config.change_to(new);
        let listen = self.registry.settings();
        // The address of the region does not change while it runs.
        let mut settings = change.config.settings(change.config.listen);
        settings.public_url.clone_from(&listen.public_url);
        settings.registry_host.clone_from(&listen.registry_host);
        if let Err(reason) = self.registry.change_settings(settings) {
            tracing::error!(file = %shown, reason, "the configuration cannot be used, the old settings stay");
            return;
        }
        self.server.set_limits(limits::of_connections(&change.config));
        // This line comes first, in the old format: it tells readers of the log that the format changes.
        let (taken_over, needs_restart) = (change.taken_over.join(", "), change.needs_restart.join(", "));
        if taken_over.is_empty() && needs_restart.is_empty() {
            tracing::info!(file = %shown, "the configuration was read again; nothing has changed");
        } else {
            tracing::info!(file = %shown, taken_over, needs_restart, "the configuration was read again");
        }
        if !needs_restart.is_empty() {
            tracing::warn!("these settings hold after a restart only: {needs_restart}");
        }
        if change.config.log != self.config.log {
            self.log.change(&change.config.log);
        }
        self.config = change.config;
    }
}
