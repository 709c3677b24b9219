//! `--config` and `--instance`: which config file a command reads, and where that says the
//! daemon's sockets are.

use std::io;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure, OrExit};
use super::text::say;
use crate::config::{self, Config, ConfigError, Instance};

/// Read where neither `--config` nor `$PINRELAY_CONFIG` names a file, if it is there.
pub const DEFAULT_CONFIG: &str = "/etc/pinrelay/pinrelay.toml";

/// What clap knows `--config` by.
pub const CONFIG_ID: &str = "config_file";
/// What it knows `--instance` by.
pub const INSTANCE_ID: &str = "instance";

/// Names the file where no flag does.
const CONFIG_VARIABLE: &str = "PINRELAY_CONFIG";

/// Which config file.
#[derive(clap::Args, Debug, Clone)]
pub struct ConfigArg {
    /// The configuration file [default: $PINRELAY_CONFIG, then /etc/pinrelay/pinrelay.toml if it
    /// is there].
    #[arg(id = CONFIG_ID, short = 'c', long = "config", value_name = "FILE", global = true)]
    path: Option<PathBuf>,
    /// One daemon of several: reads /etc/pinrelay/NAME.toml, and the defaults of sockets, queue
    /// and token are the instance's own.
    #[arg(id = INSTANCE_ID, long, value_name = "NAME", value_parser = Instance::parse, global = true,
          conflicts_with = CONFIG_ID)]
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

/// A config of which perhaps only a part can be used.
pub struct Salvaged {
    /// With defaults in place of what cannot be used.
    pub config: Config,
    /// What is wrong with it.
    pub wrong: Option<ConfigError>,
}

impl Salvaged {
    /// Says in one line of stderr that something is wrong, if it is, and what is done all the
    /// same.
    pub fn tell(&self, instead: &str) {
        let Some(wrong) = &self.wrong else {
            return;
        };
        let first = match wrong {
            ConfigError::Invalid(problems) => match &problems[..] {
                [one] => format!("the config is broken: {one}"),
                [first, rest @ ..] => {
                    format!("the config is broken: {first}, and {} more", rest.len())
                }
                [] => "the config is broken".to_owned(),
            },
            other => other.to_string(),
        };
        // A message of the parser may have several lines.
        let first = first.split_whitespace().collect::<Vec<_>>().join(" ");
        say(&format!(
            "pinrelay: {first}; `pinrelay check` names everything; {instead}\n"
        ));
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
    /// What of the config can be used. One that nobody named may be hidden from this user, and an
    /// instance's likewise: its defaults are known.
    ///
    /// # Errors
    /// With exit 78 when a file that was named is not there or cannot be read.
    pub fn salvage(&self) -> Result<Salvaged, Failure> {
        let default = Path::new(DEFAULT_CONFIG);
        let named = self.path();
        let path = match &named {
            Some(path) => Some(path.as_path()),
            None => match default.try_exists() {
                Ok(false) => None,
                _ => Some(default),
            },
        };
        let instance = self.instance.as_ref();
        let env = config::process_env;
        let wrong = match config::load_broken(path, instance, env()) {
            Ok((config, wrong)) => return Ok(Salvaged { config, wrong }),
            Err(wrong) => wrong,
        };
        let hidden = match &wrong {
            ConfigError::Unreadable { error, .. } => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        };
        if named.is_some() && !(hidden && instance.is_some()) {
            return Err(wrong).or_exit(Exit::Config);
        }
        let (config, _) = config::load_broken(None, instance, env()).or_exit(Exit::Config)?;
        let wrong = Some(wrong);
        Ok(Salvaged { config, wrong })
    }

    /// Where the admin socket of this config's daemon is: a mistake elsewhere in the file keeps
    /// nobody from asking it.
    ///
    /// # Errors
    /// Those of [`ConfigArg::salvage`].
    pub fn admin_socket(&self) -> Result<PathBuf, Failure> {
        let salvaged = self.salvage()?;
        let socket = &salvaged.config.admin.socket;
        salvaged.tell(&format!("asking the daemon at {}", socket.display()));
        Ok(socket.clone())
    }

    /// Where the sockets of this config's daemon are. A producer may not read the config that
    /// nobody named to it, and has no use for being told.
    ///
    /// # Errors
    /// With exit 78 when a file that was named cannot be read.
    pub fn sockets(&self) -> Result<Sockets, Failure> {
        let salvaged = match (self.salvage(), &self.instance) {
            (Err(_), Some(instance)) => {
                return Ok(Sockets {
                    ingest: instance.ingest_socket(),
                    admin: instance.admin_socket(),
                });
            }
            (salvaged, _) => salvaged?,
        };
        let config = &salvaged.config;
        if matches!(salvaged.wrong, Some(ConfigError::Invalid(_))) {
            let socket = config.ingest.socket.display();
            salvaged.tell(&format!("sending to {socket}"));
        }
        Ok(Sockets {
            ingest: config.ingest.socket.clone(),
            admin: config.admin.socket.clone(),
        })
    }
}
