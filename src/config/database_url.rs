//! Where the database's URL comes from.
//!
//! Invariant: a source that was named, or that exists, is never passed over: a daemon that fell back
//! to another would put events into the wrong database without a word.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::files;
use crate::secret::Token;

/// No URL's file is larger, in bytes.
const LARGEST: u64 = 64 << 10;

/// The name of the URL among systemd's credentials.
pub const URL_CREDENTIAL: &str = "pinrelay-db-url";

/// The variable that holds the URL itself.
pub const URL_VARIABLE: &str = "PINRELAY_DB_URL";

/// Where the URL may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSources {
    /// `postgres.url_file`, if it is set: then nothing else counts.
    pub(super) explicit: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY/pinrelay-db-url`.
    pub(super) credential: Option<PathBuf>,
    /// `$PINRELAY_DB_URL`.
    pub(super) variable: Option<Token>,
}

/// A URL and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUrl {
    /// The URL, without the blanks around it. It holds a password.
    pub url: Token,
    /// Its file; `None`: the environment variable.
    pub file: Option<PathBuf>,
    /// The file can be read by every user of the machine.
    pub exposed: bool,
}

/// Why there is no URL.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// No source exists.
    #[error(
        "there is no URL of the database: put it into a file (mode 0640, group pinrelay) and name \
         that as [postgres] url_file"
    )]
    Missing,
    /// A source exists, or was named, and cannot be read.
    #[error(
        "the file {file} of the database's URL cannot be read: {error}; {}",
        files::next_step(error)
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A source holds nothing that can be a URL.
    #[error(
        "{source_name} does not hold a database's URL: it {what}; write it there, alone on one line, \
         as postgres://USER:PASSWORD@HOST/DATABASE"
    )]
    Malformed {
        /// The file or variable.
        source_name: String,
        /// What is wrong with it.
        what: String,
    },
}

impl UrlSources {
    /// Reads the URL from the one source that counts.
    ///
    /// # Errors
    /// [`UrlError`]; its text names the source and never holds the URL.
    pub fn read(&self) -> Result<FoundUrl, UrlError> {
        if let Some(file) = &self.explicit {
            return from_file(file);
        }
        if let Some(file) = &self.credential
            && exists(file)?
        {
            return from_file(file);
        }
        match &self.variable {
            Some(url) => Ok(FoundUrl {
                url: tidy(url.expose(), URL_VARIABLE)?,
                file: None,
                exposed: false,
            }),
            None => Err(UrlError::Missing),
        }
    }
}

/// A folder that may not be searched hides whether the file is there.
fn exists(file: &Path) -> Result<bool, UrlError> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match std::fs::symlink_metadata(file) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
        Err(error) => Err(UrlError::Unreadable {
            file: file.to_owned(),
            error,
        }),
    }
}

fn from_file(file: &Path) -> Result<FoundUrl, UrlError> {
    let (bytes, about) = files::read(file, LARGEST).map_err(|error| UrlError::Unreadable {
        file: file.to_owned(),
        error,
    })?;
    let name = file.display().to_string();
    let text = std::str::from_utf8(&bytes).map_err(|_| UrlError::Malformed {
        source_name: name.clone(),
        what: "is not text".into(),
    })?;
    Ok(FoundUrl {
        url: tidy(text, &name)?,
        file: Some(file.to_owned()),
        exposed: about.mode() & 0o004 != 0,
    })
}

/// What is said of the text is none of the text.
fn tidy(text: &str, source_name: &str) -> Result<Token, UrlError> {
    Token::parse(text).map_err(|what| UrlError::Malformed {
        source_name: source_name.to_owned(),
        what: what.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const URL: &str = "postgres://u:SECRET@h/d";

    #[test]
    fn a_source_that_was_named_or_exists_is_never_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let sources = |explicit: Option<&str>| UrlSources {
            explicit: explicit.map(at),
            credential: Some(at("credential")),
            variable: Some(Token::new("postgres://variable:SECRET@h/d")),
        };
        let file = |sources: &UrlSources| sources.read().map(|found| found.file);
        // Only the variable is there.
        assert_eq!(file(&sources(None)).expect("a URL"), None);
        let gone = file(&sources(Some("named")))
            .expect_err("no such file")
            .to_string();
        assert!(gone.contains("named"), "{gone}");
        fs::write(at("credential"), "").expect("a file");
        let empty = file(&sources(None))
            .expect_err("an empty credential")
            .to_string();
        assert!(empty.contains("credential does not hold"), "{empty}");
        fs::write(at("credential"), format!("{URL}\n")).expect("a file");
        assert_eq!(file(&sources(None)).expect("a URL"), Some(at("credential")));
        fs::write(at("named"), format!(" {URL}\n")).expect("a file");
        let found = sources(Some("named")).read().expect("a URL");
        assert_eq!((found.url.expose(), &found.file), (URL, &Some(at("named"))));
        for (mode, exposed) in [(0o640, false), (0o644, true)] {
            fs::set_permissions(at("named"), fs::Permissions::from_mode(mode)).expect("a mode");
            assert_eq!(
                sources(Some("named")).read().expect("a URL").exposed,
                exposed
            );
        }
        fs::write(at("named"), format!("{URL} {URL}")).expect("a file");
        let two = sources(Some("named"))
            .read()
            .expect_err("two words")
            .to_string();
        assert!(
            two.contains("more than one word") && !two.contains("SECRET"),
            "{two}"
        );
        assert!(!format!("{:?}", sources(None)).contains("SECRET"));
        let none = UrlSources {
            credential: None,
            variable: None,
            ..sources(None)
        };
        assert!(matches!(none.read(), Err(UrlError::Missing)));
    }
}
