//! `--config` and `--instance`: which config file a command reads, and where that says the
//! daemon's sockets are.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure, OrExit};
use crate::config::{self, Config, ConfigError, Instance};

/// Read where neither `--config` nor `$PINRELAY_CONFIG` names a file, if it is there.
pub const DEFAULT_CONFIG: &str = "/etc/pinrelay/pinrelay.toml";

/// Names the file where no flag does.
const CONFIG_VARIABLE: &str = "PINRELAY_CONFIG";

/// Which config file.
#[derive(clap::Args, Debug, Clone)]
pub struct ConfigArg {
    /// The configuration file [default: $PINRELAY_CONFIG, then /etc/pinrelay/pinrelay.toml if it
    /// is there].
    #[arg(long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
    /// One daemon of several: reads /etc/pinrelay/NAME.toml, and the defaults of sockets, queue
    /// and token are the instance's own.
    #[arg(long, value_name = "NAME", value_parser = Instance::parse, conflicts_with = "path")]
    pub(super) instance: Option<Instance>,
}

impl ConfigArg {
    /// This file.
    pub fn of(file: &Path) -> Self {
        Self {
            path: Some(file.to_owned()),
            instance: None,
        }
    }

    /// The file that is named, if one is.
    pub fn path(&self) -> Option<PathBuf> {
        let instance = self.instance.as_ref().map(Instance::file);
        instance.or_else(|| self.path.clone()).or_else(|| {
            // Not clap's `env`: that stands beside --instance as a flag would, and is refused.
            let variable = std::env::var_os(CONFIG_VARIABLE)?;
            (!variable.is_empty()).then(|| variable.into())
        })
    }

    /// Reads the file that is named, or the default one if there is one, under `env`.
    ///
    /// # Errors
    /// Those of [`config::load`]; a file that is named has to be there.
    pub fn load(&self, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        if let Some(instance) = &self.instance {
            return config::load_instance(instance, env);
        }
        let default = Path::new(DEFAULT_CONFIG);
        let named = self.path();
        let path = match &named {
            Some(path) => Some(path.as_path()),
            // One that is there and hidden from us is an error later, not none.
            None => match default.try_exists() {
                Ok(false) => None,
                _ => Some(default),
            },
        };
        config::load(path, env)
    }
}

/// The two sockets of a daemon.
pub struct Sockets {
    /// Where it takes events.
    pub ingest: PathBuf,
    /// Where it is asked.
    pub admin: PathBuf,
}

impl ConfigArg {
    /// Where the sockets of this config's daemon are. A producer may not read the config that
    /// nobody named to it, and one that is being mended keeps nobody from sending: the sockets
    /// are then where they are by default.
    ///
    /// # Errors
    /// With exit 78 when a file that was named cannot be used.
    pub fn sockets(&self) -> Result<Sockets, Failure> {
        let of = |config: Config| Sockets {
            ingest: config.ingest.socket,
            admin: config.admin.socket,
        };
        match (self.load(config::process_env()), &self.instance) {
            (Ok(config), _) => Ok(of(config)),
            (Err(_), Some(instance)) => Ok(Sockets {
                ingest: instance.ingest_socket(),
                admin: instance.admin_socket(),
            }),
            (Err(_), None) if self.path().is_none() => {
                let defaults = config::load(None, config::process_env());
                defaults.or_exit(Exit::Config).map(of)
            }
            (Err(error), None) => Err(error).or_exit(Exit::Config),
        }
    }
}
