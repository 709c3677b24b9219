//! Where the access token comes from.
//!
//! Invariant: a source that was named, or that exists, is never passed over. A daemon that
//! fell back to another token would send events to the wrong account without a word.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files;
use crate::secret::Token;

/// No token's file is larger, in bytes.
const LARGEST: u64 = 64 << 10;

/// Read if nothing else is named.
pub const DEFAULT_TOKEN_FILE: &str = "/etc/pinrelay/token";

/// The name of the token among systemd's credentials.
pub const CREDENTIAL: &str = "pinterest-token";

/// The variable that holds the token itself.
pub const TOKEN_VARIABLE: &str = "PINRELAY_TOKEN";

/// Where the token may be. Kept with the config, so that a reload asks the same places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSources {
    /// `token_file`, if it is set: then nothing else counts.
    pub(super) explicit: Option<PathBuf>,
    pub(super) default_file: PathBuf,
    /// `$CREDENTIALS_DIRECTORY/pinterest-token`.
    pub(super) credential: Option<PathBuf>,
    /// `$PINRELAY_TOKEN`.
    pub(super) variable: Option<Token>,
}

/// What kind of place a token was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// A file, which may change at any time.
    File,
    /// A credential of systemd's, which stays as it was when the service started.
    Credential,
    /// The environment variable, which stays as well.
    Variable,
}

/// A token and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundToken {
    /// The token, without the blanks around it.
    pub token: Token,
    /// What kind of place that is.
    pub source: TokenSource,
    /// Its file; `None`: the environment variable.
    pub file: Option<PathBuf>,
    /// The file can be read by every user of the machine.
    pub exposed: bool,
    /// The group whose members can read the file, if they can.
    pub group: Option<u32>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No source exists.
    #[error(
        "there is no Pinterest access token: put it into {default} (mode 0640, group pinrelay), \
         or name its file as [pinterest] token_file"
    )]
    Missing {
        /// The first place that was looked at.
        default: PathBuf,
    },
    /// A source exists, or was named, and cannot be read.
    #[error(
        "the token file {file} cannot be read: {error}; {}",
        files::next_step(error)
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A source holds nothing that can be a token.
    #[error(
        "{source_name} does not hold an access token: it {what}; write the token there, alone on \
         one line"
    )]
    Malformed {
        /// The file or variable.
        source_name: String,
        /// What is wrong with it.
        what: String,
    },
}

impl TokenSources {
    /// Reads the token from the one source that counts.
    ///
    /// # Errors
    /// [`TokenError`]; its text names the source and never holds the token.
    pub fn read(&self) -> Result<FoundToken, TokenError> {
        if let Some(file) = &self.explicit {
            return self.in_file(file);
        }
        for file in [Some(&self.default_file), self.credential.as_ref()]
            .into_iter()
            .flatten()
        {
            if exists(file)? {
                return self.in_file(file);
            }
        }
        match &self.variable {
            Some(token) => Ok(FoundToken {
                token: tidy(token.expose(), TOKEN_VARIABLE)?,
                source: TokenSource::Variable,
                file: None,
                exposed: false,
                group: None,
            }),
            None => Err(TokenError::Missing {
                default: self.default_file.clone(),
            }),
        }
    }

    fn in_file(&self, file: &Path) -> Result<FoundToken, TokenError> {
        let credentials = self.credential.as_deref().and_then(Path::parent);
        let source = match credentials.is_some_and(|folder| file.starts_with(folder)) {
            true => TokenSource::Credential,
            false => TokenSource::File,
        };
        from_file(file, source)
    }
}

fn exists(file: &Path) -> Result<bool, TokenError> {
    match fs::symlink_metadata(file) {
        Ok(_) => Ok(true),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        // A folder that may not be searched hides whether the file is there.
        Err(error) => Err(TokenError::Unreadable {
            file: file.to_owned(),
            error,
        }),
    }
}

fn from_file(file: &Path, source: TokenSource) -> Result<FoundToken, TokenError> {
    let unreadable = |error| TokenError::Unreadable {
        file: file.to_owned(),
        error,
    };
    let (bytes, about) = files::read(file, LARGEST).map_err(unreadable)?;
    let name = file.display().to_string();
    let text = std::str::from_utf8(&bytes).map_err(|_| TokenError::Malformed {
        source_name: name.clone(),
        what: "is not text".into(),
    })?;
    Ok(FoundToken {
        token: tidy(text, &name)?,
        source,
        file: Some(file.to_owned()),
        exposed: about.mode() & 0o004 != 0,
        group: (about.mode() & 0o040 != 0).then(|| about.gid()),
    })
}

fn tidy(text: &str, source_name: &str) -> Result<Token, TokenError> {
    Token::parse(text).map_err(|what| TokenError::Malformed {
        source_name: source_name.to_owned(),
        what: what.to_string(),
    })
}
