//! What no log shows: the access token, readable by the client that sends it, the URL of the database
//! with its password, and the write keys of those who send over HTTP.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A conversion access token, or another text of one word that is as secret. Its `Debug` shows nothing of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// Why a text is no token. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// Only whitespace, or nothing.
    #[error("is empty")]
    Empty,
    /// Something that cannot stand in an HTTP header.
    #[error("holds more than one word, or odd characters")]
    Characters,
}

impl Token {
    /// Holds a text as it stands, yet to be checked by [`Token::parse`].
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Takes a token as it stands in a file or a variable: whitespace around it is dropped.
    ///
    /// # Errors
    /// [`NoToken`] if nothing is left, or anything but visible ASCII.
    pub fn parse(text: &str) -> Result<Self, NoToken> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NoToken::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NoToken::Characters);
        }
        Ok(Self(text.into()))
    }

    /// The token itself, for those alone whom it was given for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A write key. Its `Debug` shows nothing of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

/// Why a text is no write key. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSecret {
    /// Nothing.
    #[error("is empty")]
    Empty,
    /// Something that no client could send as it stands.
    #[error("holds white space, or characters that are not ASCII")]
    Characters,
}

impl Secret {
    /// Takes a key as it stands: white space around it is white space in it.
    ///
    /// # Errors
    /// [`NoSecret`].
    pub fn parse(text: &str) -> Result<Self, NoSecret> {
        if text.is_empty() {
            return Err(NoSecret::Empty);
        }
        // Others no header carries.
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NoSecret::Characters);
        }
        Ok(Self(text.into()))
    }

    /// The key itself, to compare it by other means.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The token of the moment. Clones share it; a reload swaps it for all of them.
#[derive(Clone, Debug)]
pub struct SharedToken(Arc<RwLock<Token>>);

impl SharedToken {
    /// Starts with `token`.
    pub fn new(token: Token) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// The token of this moment.
    pub fn get(&self) -> Token {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts `token` in its place; says whether that is another one.
    pub fn swap(&self, token: Token) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *current != token;
        *current = token;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_checked_and_never_shown() {
        let token = Token::parse(" pina_SECRET \n").unwrap();
        assert_eq!(token.expose(), "pina_SECRET");
        let shared = SharedToken::new(token.clone());
        for shown in [format!("{token:?}"), format!("{shared:?}")] {
            assert!(!shown.contains("SECRET"), "{shown}");
        }
        assert_eq!(Token::parse(" \n"), Err(NoToken::Empty));
        assert_eq!(Token::parse("two words"), Err(NoToken::Characters));
        assert_eq!(Token::parse("tökén"), Err(NoToken::Characters));
    }

    #[test]
    fn a_write_key_is_checked_and_never_shown() {
        let key = Secret::parse("id:SECRET-1").unwrap();
        assert!(!format!("{key:?}").contains("SECRET"));
        assert_eq!(Secret::parse(""), Err(NoSecret::Empty));
        for bad in [" a", "a\n", "a b", "a\u{a0}b", "a\0", "\u{7f}", "é"] {
            assert_eq!(Secret::parse(bad), Err(NoSecret::Characters), "{bad:?}");
        }
        assert_eq!(key, Secret::parse(key.expose()).unwrap());
        assert_ne!(key, Secret::parse("id:SECRET").unwrap());
    }

    #[test]
    fn a_swap_reaches_every_clone_and_says_whether_it_changed() {
        let shared = SharedToken::new(Token::parse("a").unwrap());
        let clone = shared.clone();
        assert!(!shared.swap(Token::parse("a").unwrap()));
        assert!(shared.swap(Token::parse("b").unwrap()));
        assert_eq!(clone.get().expose(), "b");
    }
}
