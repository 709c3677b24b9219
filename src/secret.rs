//! The access token, which never shows itself.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Pinterest's conversion access token. Its `Debug` and `Display` are a placeholder; only
/// [`Token::expose`] gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the `Authorization` header alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
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
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
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
    use super::{SharedToken, Token};

    #[test]
    fn a_token_does_not_print() {
        let token = Token::new("pina_ABC");
        assert!(!format!("{token} {token:?} {token:#?}").contains("ABC"));
        assert_eq!(token.expose(), "pina_ABC");
    }

    #[test]
    fn a_swap_reaches_every_clone_and_says_whether_it_changed() {
        let shared = SharedToken::new(Token::new("pina_ABC"));
        assert!(!format!("{shared:?}").contains("ABC"));
        let clone = shared.clone();
        assert!(!shared.swap(Token::new("pina_ABC")));
        assert!(shared.swap(Token::new("b")));
        assert_eq!(clone.get().expose(), "b");
    }
}
